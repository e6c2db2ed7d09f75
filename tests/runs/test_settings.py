from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.domain.spec import Spec, kind_of
from recsys.runs.settings import takes_any_key, variants, variants_at, walk


class Cat(Spec):
    """Meows."""

    kind: Literal["cat"] = "cat"
    lives: int = 9
    """How often it may fall."""


class Dog(Spec):
    """Barks."""

    kind: Literal["dog"] = "dog"
    name: str
    """What it hears to."""


class Home(Spec):
    """Keeps a pet."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Cat()
    guest: Cat | None = None
    """Who comes by."""
    rooms: dict[str, int] = Field(default_factory=dict)
    """Name -> windows."""
    colour: Literal["red", "blue"] = "red"
    """Of the door."""


def test_settings_of_the_chosen_kind_alone_are_shown() -> None:
    cat = {setting.path: setting for setting in walk(Home, {"pet": "cat"})}
    assert "pet.lives" in cat
    assert "pet.name" not in cat
    assert cat["pet.lives"].default == "9"
    assert cat["pet.lives"].meaning == "How often it may fall."
    dog = {setting.path: setting for setting in walk(Home, {"pet": "dog"})}
    assert dog["pet.name"].default == "(needed)"
    assert "pet.lives" not in dog


def test_a_kind_that_is_not_there_hides_nothing() -> None:
    paths = {setting.path for setting in walk(Home, {"pet": "fish", "guest": "x"})}
    assert {"pet.lives", "pet.name", "guest", "guest.lives"} <= paths


def test_choices_stand_before_the_meaning() -> None:
    colour = next(setting for setting in walk(Home, {}) if setting.path == "colour")
    assert colour.meaning == "red | blue. Of the door."


def test_mappings_take_any_key() -> None:
    assert takes_any_key(Home, "rooms.kitchen")
    assert not takes_any_key(Home, "rooms")
    assert not takes_any_key(Home, "pet.lives")


def test_variants_of_a_field_and_at_a_path() -> None:
    assert variants(Home.model_fields["pet"].annotation) == (Cat, Dog)
    assert variants(Home.model_fields["colour"].annotation) == ()
    assert variants_at(Home, "pet") == (Cat, Dog)
    assert variants_at(Home, "") == (Home,)
    assert variants_at(Home, "pet.lives") == ()


def test_a_kind_selects_a_class_only_where_it_is_fixed() -> None:
    class Row(Spec):
        """Has a kind that selects nothing."""

        kind: Literal["a", "b"] | None = None

    assert kind_of(Cat) == "cat"
    assert kind_of(Home) is None
    assert kind_of(Row) is None
