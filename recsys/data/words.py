"""What people call the columns and files of a shop: the words behind a guess."""

from __future__ import annotations

import re
import unicodedata

from recsys.data.spec import KindName

COLUMN_WORDS: dict[str, tuple[str, ...]] = {
    "member": (
        "member", "customer", "client", "user", "visitor", "account", "shopper", "buyer", "person",
        "household", "uid", "who", "kunde", "kunden", "kundin", "kundennummer", "kundennr",
        "mitglied", "membre", "adherent", "utilisateur", "cliente", "socio", "miembro", "usuario",
    ),
    "sale": (
        "sale", "sku", "product", "item", "article", "stock", "campaign", "offer", "deal", "goods",
        "what", "asin", "artikel", "artikelnummer", "artikelnr", "produkt", "angebot", "produit",
        "vente", "offre", "articulo", "producto", "venta", "oferta",
    ),
    "kind": (
        "kind", "event", "type", "action", "activity", "did", "ereignis", "evenement", "evento",
        "accion", "typ",
    ),
    "at": (
        "at", "timestamp", "ts", "time", "datetime", "date", "when", "moment", "occurred",
        "created", "zeit", "zeitpunkt", "datum", "bestelldatum", "horodatage", "heure", "fecha",
        "hora",
    ),
    "ingested_at": ("ingested", "received", "loaded", "arrived", "inserted"),
    "opens_at": (
        "opens", "open", "opening", "starts", "start", "begin", "begins", "launch", "from",
        "beginn", "debut", "ouverture", "inicio", "ab",
    ),
    "closes_at": (
        "closes", "close", "closing", "ends", "end", "until", "expires", "expiry", "to", "ende",
        "schluss", "fin", "fermeture", "cierre", "bis",
    ),
    "joined_at": (
        "joined", "join", "signup", "registered", "registration", "since", "created", "anmeldung",
        "inscription", "registro", "alta",
    ),
    "brand": (
        "brand", "label", "maker", "manufacturer", "vendor", "designer", "marke", "hersteller",
        "marque", "marca",
    ),
    "price": (
        "price", "cost", "amount", "euros", "eur", "usd", "gbp", "dollars", "preis", "prix",
        "precio",
    ),
    "title": (
        "title", "description", "headline", "name", "titel", "bezeichnung", "titre", "libelle",
        "titulo",
    ),
    "channel": ("channel", "device", "medium", "platform", "kanal", "canal"),
    "value": (
        "value", "price", "amount", "revenue", "spent", "total", "paid", "betrag", "preis",
        "umsatz", "montant", "prix", "importe", "precio",
    ),
    "quantity": (
        "quantity", "qty", "units", "pieces", "menge", "anzahl", "quantite", "qte", "cantidad",
    ),
    "is_machine": ("machine", "bot", "crawler", "proxy"),
    "curated": ("curated", "editor", "editors", "featured", "highlight"),
    "consent_mail": ("newsletter", "optin", "mailing", "subscribed"),
    "consent_personalise": ("consent", "personalise", "personalize", "profiling"),
}  # fmt: skip
"""Our column -> words in names of columns that mean it, the surest first."""
CATEGORY_WORDS = (
    "category", "department", "theme", "genre", "segment", "style", "group", "type", "kategorie",
    "warengruppe", "categorie", "rayon", "categoria",
)  # fmt: skip
"""Words in names of columns that group sales, the surest first."""
KIND_NAMES = ("kind", "event", "action", "activity", "ereignis", "evenement", "evento", "accion")
"""Words in names of columns that say what a member did, whatever stands in them."""

TABLE_WORDS: dict[str, tuple[str, ...]] = {
    "events": (
        "event", "events", "log", "logs", "clicks", "click", "transactions", "transaction",
        "orders", "purchases", "interactions", "behaviour", "behavior", "activity", "journal",
        "ereignisse", "bestellungen", "evenements", "commandes", "achats", "eventos", "pedidos",
    ),
    "sales": (
        "sales", "products", "product", "items", "articles", "catalogue", "catalog", "campaigns",
        "offers", "goods", "deals", "skus", "assortment", "artikel", "produkte", "angebote",
        "ventes", "produits", "ventas", "productos",
    ),
    "members": (
        "members", "customers", "customer", "users", "clients", "people", "accounts", "shoppers",
        "households", "kunden", "mitglieder", "membres", "clientes", "socios",
    ),
}  # fmt: skip
"""Our table -> words in names of files that mean it."""

ABOUT: dict[str, tuple[str, ...]] = {
    "sales": (
        *COLUMN_WORDS["brand"], *COLUMN_WORDS["price"], *COLUMN_WORDS["opens_at"],
        *COLUMN_WORDS["closes_at"], "category", "title", "discount", "colour", "size", "department",
    ),
    "members": (
        *COLUMN_WORDS["joined_at"], *COLUMN_WORDS["consent_mail"], "gender", "age", "birth", "born",
        "email", "mail", "city", "region", "country", "income", "language", "consent", "postcode",
    ),
}  # fmt: skip
"""Words in names of columns that tell tables of sales and of members apart."""

KIND_WORDS: dict[KindName, tuple[str, ...]] = {
    "visit": ("visit", "visited", "session", "login", "besuch", "visite", "visita"),
    "mail_open": ("mail_open", "email_open", "email_opened", "mail_opened", "open", "opened"),
    "mail_click": ("mail_click", "email_click", "email_clicked", "mail_clicked"),
    "wait_list": (
        "wait_list", "waitlist", "wishlist", "wish_list", "favourite", "favorite", "reminder",
        "alert", "like", "merkliste", "wunschliste", "favori", "favoris", "favorito", "alerte",
    ),
    "cart": ("cart", "basket", "add_to_cart", "addtocart", "add_to_basket", "added", "bag",
        "warenkorb", "panier", "ajout_panier", "carrito", "cesta",
    ),
    "purchase": (
        "purchase", "purchased", "buy", "bought", "order", "ordered", "transaction", "checkout",
        "paid", "sale", "kauf", "gekauft", "bestellung", "achat", "commande", "compra", "pedido",
    ),
    "view": (
        "view", "viewed", "pageview", "page_view", "product_view", "detail", "click", "clicked",
        "look", "looked", "seen", "ansicht", "aufruf", "angesehen", "klick", "vue", "clic",
        "consultation", "vista", "visto",
    ),
}  # fmt: skip
"""Our kind of event -> words people write for it."""

PRIVATE = re.compile(
    r"e_?mail|phone|mobile|first_?name|last_?name|surname|full_?name|street|address|iban|password"
    r"|vorname|nachname|strasse|adresse|telefon|prenom|apellido|direccion|correo",
    re.IGNORECASE,
)
"""Names of columns that say who somebody is: nothing to learn a taste from."""
LATER = re.compile(
    r"^(num|nb|count|total|sum|avg|mean|last)_|_(count|total|sum|avg|mean|sold|views|clicks|orders)$"
    r"|rating|popularity|lifetime|updated",
    re.IGNORECASE,
)
"""Names of columns that may hold what was learned after a decision."""


def tokens(name: str) -> list[str]:
    """Split a name at case changes and signs, accents off: CustomerID -> customer, id."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain)
    return [word for word in re.split(r"[^A-Za-z0-9]+", parted.lower()) if word]


def fit(name: str, words: tuple[str, ...]) -> float:
    """Say how well a name means one of the words: 0 not at all, up to 2; earlier words win."""
    parts = tokens(name)
    hits = [
        (1 + (parts == [word])) * (1 - place / 100)
        for place, word in enumerate(words)
        if word in parts
    ]
    return max(hits, default=0.0)


def kind_of(word: str) -> KindName | None:
    """Return our kind of event for a word of somebody else's."""
    plain = "_".join(tokens(word))
    for kind, words in KIND_WORDS.items():
        if plain in words:
            return kind
    return None
