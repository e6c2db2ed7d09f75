"""Invented names and the words of titles: style, category and brand, as a shop would write them."""

from __future__ import annotations

STYLES: tuple[tuple[str, ...], ...] = (
    ("coastal", "linen", "sailor", "salt", "pebble"),
    ("urban", "graphite", "concrete", "metro", "loft"),
    ("romantic", "lace", "petal", "ruffle", "blush"),
    ("alpine", "fleece", "summit", "larch", "glacier"),
    ("heritage", "tweed", "oxford", "saddle", "crest"),
    ("minimal", "plain", "pale", "quiet", "bare"),
    ("bohemian", "fringe", "paisley", "wander", "ochre"),
    ("retro", "disco", "vinyl", "diner", "mustard"),
    ("tailored", "pinstripe", "sharp", "crease", "lapel"),
    ("sporty", "sprint", "court", "breeze", "stride"),
    ("tropical", "palm", "mango", "lagoon", "parrot"),
    ("nordic", "birch", "fjord", "snow", "wool"),
    ("glamour", "sequin", "velvet", "gala", "satin"),
    ("rustic", "oak", "hearth", "barley", "stone"),
    ("playful", "confetti", "dots", "bubble", "kite"),
    ("gothic", "raven", "onyx", "midnight", "iron"),
    ("preppy", "college", "stripe", "club", "cable"),
    ("military", "khaki", "cargo", "canvas", "field"),
    ("lacquered", "jade", "ink", "lotus", "crane"),
    ("desert", "sand", "terracotta", "mesa", "cactus"),
    ("floral", "peony", "meadow", "garden", "bloom"),
    ("artisan", "handmade", "glaze", "weave", "clay"),
    ("futurist", "chrome", "neon", "pixel", "orbit"),
    ("silken", "silk", "pearl", "ivory", "moon"),
)
"""Words of each of the 24 styles; the first is its name."""

DEPARTMENTS = ("women", "men", "home", "children")

CATEGORIES: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("dresses", 0, ("dresses", "gowns", "skirts")),
    ("knitwear", 0, ("knits", "cardigans", "jumpers")),
    ("women shoes", 0, ("heels", "sandals", "boots")),
    ("bags", 0, ("bags", "totes", "clutches")),
    ("jewellery", 0, ("rings", "necklaces", "earrings")),
    ("lingerie", 0, ("nightwear", "robes", "lingerie")),
    ("shirts", 1, ("shirts", "polos", "tees")),
    ("men shoes", 1, ("brogues", "trainers", "loafers")),
    ("suits", 1, ("suits", "jackets", "coats")),
    ("watches", 1, ("watches", "belts", "wallets")),
    ("bedding", 2, ("sheets", "quilts", "pillows")),
    ("kitchen", 2, ("pans", "knives", "tableware")),
    ("lighting", 2, ("lamps", "lanterns", "candles")),
    ("rugs", 2, ("rugs", "throws", "cushions")),
    ("baby", 3, ("rompers", "blankets", "bibs")),
    ("toys", 3, ("puzzles", "blocks", "games")),
    ("school", 3, ("satchels", "raincoats", "sneakers")),
    ("outdoor play", 3, ("scooters", "tents", "swings")),
)
"""Name, department and title words of each category."""

SEASONS = ("all year", "spring", "summer", "autumn", "winter")

TITLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("{} {} {} by {}", ("style", "second", "noun", "brand")),
    ("{} hour by {}", ("style", "brand")),
    ("{}: {} {}", ("brand", "second", "noun")),
    ("{} {} from {}", ("style", "noun", "brand")),
    ("The {} {} edit, {}", ("second", "noun", "brand")),
)
"""Forms of titles and the words they take."""


_FIRST = (
    "Iva", "Oro", "Lune", "Mavi", "Sela", "Tavo", "Nira", "Calo", "Elio", "Ruva", "Zena", "Aldo",
    "Bree", "Doma", "Fila", "Gala", "Hesa", "Juno", "Kira", "Lio", "Mira", "Neva", "Orla", "Pia",
    "Rumi", "Sabi", "Tilo", "Una", "Vero", "Yara", "Alba", "Bino", "Cleo", "Duna", "Esme", "Faro",
)  # fmt: skip
_STEM = ("Ron", "Bel", "Cas", "Mar", "Tel", "Vin", "Hal", "Lor", "Sol", "Ber", "Dar", "Fen", "Gal")
_END = ("ne", "lotti", "dal", "sen", "wick", "mere", "quist", "ari", "oux", "etto", "inger", "ova")


def brand_names() -> list[str]:
    """Return 5,616 different two-word names in a fixed order."""
    return [f"{first} {stem}{end}" for first in _FIRST for stem in _STEM for end in _END]
