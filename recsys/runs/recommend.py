"""One or several slates, here: the same answers the service gives."""

from __future__ import annotations

from recsys.domain.errors import SettingError, UnknownMemberError
from recsys.runs.console import Console
from recsys.runs.serve import opened
from recsys.runs.spec import Recommend
from recsys.serve.answers import Answer, to_json
from recsys.serve.recommender import Recommender
from recsys.serve.spec import instant


def recommend(spec: Recommend) -> None:
    """Print the slates of the members named, with score parts and reasons.

    Raises:
        SettingError: no member is named.
        UnknownMemberError: the bundle holds none of them.
    """
    members = [spec.member] if isinstance(spec.member, str) else list(spec.member)
    members = [member for member in members if member]
    if not members:
        raise SettingError("no member named", "write: recsys recommend member=ID")
    at = None if spec.at is None else instant(spec.at)
    bundle = opened(spec.bundle, spec.bundles_dir)
    recommender = Recommender(bundle)
    if not recommender.known(members):
        some = ", ".join(bundle.parts.members.ids[:3].tolist())
        raise UnknownMemberError(
            f"the bundle {bundle.folder.name} knows no member {members[0]!r}",
            f"it knows, for example: {some}",
            "a member who joined since: recsys refresh",
        )
    answers = recommender.recommend(members, slots=spec.slots, at=at)
    console = Console()
    if spec.format == "json":
        console.line(to_json(answers))
        return
    for answer in answers:
        tell(console, answer)


def tell(console: Console, answer: Answer) -> None:
    """Print one slate: per place its title, brand, score parts, and the reason below."""
    rung = "" if answer.fallback == "personalised" else f"   ({answer.fallback}, not personal)"
    if not answer.sales:
        console.line(f"{answer.member}   no sale is open then")
        return
    console.line(f"{answer.member}{rung}")
    for place in answer.sales:
        title = short(place.title or place.sale, 42)
        brand = short(place.brand or "", 28)
        parts = f"taste {place.taste:.4f}  new {place.new:.4f}"
        curated = f"  curated {place.curated:.4f}" if place.curated else ""
        console.line(f"  {place.slot:>2}  {title:<42}  {brand}".rstrip())
        console.line(f"      {parts}{curated}")
        console.line(f"      {place.because}")


def short(text: str, width: int) -> str:
    """Cut a text that is too wide, and show that it was cut."""
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"
