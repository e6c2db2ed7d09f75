"""Every config composes; an option file is complete and equals its class's defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys.domain.spec import Spec, kind_of
from recsys.runs.cli import VERBS
from recsys.runs.load import CONFIGS, compose, group_spec, vocabulary
from recsys.runs.settings import variants
from recsys.runs.spec import Train

PRESETS = {"experiment", "debug"}
GROUPS = sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir())
OPTIONS = [
    pytest.param(group, file, id=f"{group}/{file.stem}")
    for group in GROUPS
    if group not in PRESETS
    for file in sorted((CONFIGS / group).glob("*.yaml"))
]
PRESET_FILES = [
    pytest.param(group, file.stem, id=f"{group}/{file.stem}")
    for group in sorted(PRESETS)
    for file in sorted((CONFIGS / group).glob("*.yaml"))
]


def plain(spec: Spec) -> Any:
    return spec.model_dump(mode="json")


def home_of(group: str, kind: str | None) -> type[Spec]:
    """Return the first verb whose group may be of a kind."""
    specs = (spec for spec, _, _ in VERBS.values() if group in spec.model_fields)
    kinds = {
        spec: {kind_of(one) for one in variants(spec.model_fields[group].annotation)}
        for spec in specs
    }
    return next(spec for spec, known in kinds.items() if kind in {None, *known})


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_composes_to_the_defaults_of_its_spec(verb: str) -> None:
    spec = VERBS[verb][0]
    assert compose(verb, spec, []) == spec()


@pytest.mark.parametrize(("group", "file"), OPTIONS)
def test_an_option_file_is_complete_and_equals_its_class(group: str, file: Path) -> None:
    written = yaml.safe_load(file.read_text())
    kind = written.get("kind")
    variant = group_spec(home_of(group, kind), group, kind)
    needed = {
        name: written[name] for name, field in variant.model_fields.items() if field.is_required()
    }
    assert written == plain(variant(**needed))


def test_groups_are_the_fields_of_the_specs() -> None:
    fields = {
        name
        for spec, _, _ in VERBS.values()
        for name, field in spec.model_fields.items()
        if variants(field.annotation)
    }
    assert set(GROUPS) - PRESETS == fields
    assert set(vocabulary("train", Train).groups) - PRESETS == {
        name for name, field in Train.model_fields.items() if variants(field.annotation)
    }


@pytest.mark.parametrize(("group", "option"), PRESET_FILES)
def test_a_preset_composes_and_changes_something(group: str, option: str) -> None:
    assert compose("train", Train, [f"{group}={option}"]) != Train()


def test_every_setting_says_what_it_means() -> None:
    silent = [
        f"{verb}: {setting}"
        for verb, (spec, _, _) in VERBS.items()
        for setting, meaning in vocabulary(verb, spec).keys({}).items()
        if not meaning
    ]
    assert silent == []
