"""The door: Hydra composes plain YAML, a frozen Spec comes out, all mistakes at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

import recsys
from recsys.domain.errors import SettingError
from recsys.domain.spec import Spec, kind_of
from recsys.runs.added import body, with_added
from recsys.runs.asked import Asked
from recsys.runs.command import (
    HELP_FLAGS,
    HYDRA_KEYS,
    Vocabulary,
    check_words,
    is_flag,
    spelled_out,
    together,
)
from recsys.runs.console import show
from recsys.runs.guard import guarded
from recsys.runs.help import help_text
from recsys.runs.own import check_own
from recsys.runs.sentences import sentences
from recsys.runs.settings import nested_unions, settled, variants

S = TypeVar("S", bound=Spec)

_PACKAGE = Path(recsys.__file__).parent
CONFIGS = next(
    folder for folder in (_PACKAGE.parent / "configs", _PACKAGE / "configs") if folder.is_dir()
)
"""The shipped configs: beside the package in a checkout, inside it in a wheel."""


def vocabulary(verb: str, spec: type[Spec], *, cwd: Path | None = None) -> Vocabulary:
    """Read what a verb's config files offer.

    A `configs` folder of the user's own adds options, and so do installed packages; a file stands
    before a package's option of the same name.
    """
    composed = yaml.safe_load((CONFIGS / f"{verb}.yaml").read_text())
    choices = {
        key.removeprefix("optional "): value
        for entry in composed.get("defaults", [])
        if isinstance(entry, dict)
        for key, value in entry.items()
        if "/" not in key
    }
    roots = [CONFIGS, *own_configs(cwd or Path.cwd())]
    return with_added(verb, spec, choices, files={g: offered(spec, g, roots) for g in choices})


def offered(spec: type[Spec], group: str, roots: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return option -> what it holds: of ours, which stand first, those of a kind the verb takes.

    So a log that only some verbs read is no source for the others.
    """
    field = spec.model_fields.get(group)
    taken = {None, *(kind_of(one) for one in variants(field.annotation))} if field else {None}
    ours = options_of(group, roots[:1])
    fitting = {name: held for name, held in ours.items() if held.get("kind") in taken}
    return fitting | options_of(group, roots[1:])


def own_configs(cwd: Path) -> list[Path]:
    """Return the user's own `configs` folder, checked, if it is there and not the shipped one."""
    own = cwd / "configs"
    return [check_own(own)] if own.is_dir() and own.resolve() != CONFIGS.resolve() else []


def options_of(group: str, roots: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return option -> what it holds for the YAML files of one group."""
    files = [file for root in roots for file in sorted((root / group).glob("*.yaml"))]
    return {file.stem: yaml.safe_load(file.read_text()) or {} for file in files}


def arguments(verb: str, spec: type[Spec], words: Sequence[str]) -> list[str]:
    """Return the words Hydra may see: checked, nested unions rewritten, own configs found.

    Ends the process after `--help`.

    Raises:
        SettingError: unknown settings, options or flags.
    """
    known = vocabulary(verb, spec)
    if HELP_FLAGS & set(words):
        show(help_text(known, words).rstrip("\n"))
        sys.exit(0)
    words = spelled_out(words, verb)
    check_words(words, known)
    words = [word if is_flag(word) else readable(word) for word in words]
    several = [word for word in words if not is_flag(word) and len(values_of(word)) > 1]
    if several and not {"-m", "--multirun"} & set(words):
        raise SettingError(
            f"{several[0]} names several values", "one run each: add -m     a list: key=[a,b]"
        )
    offer_added(words, known)
    own = [f"hydra.searchpath=[{folder.resolve().as_uri()}]" for folder in own_configs(Path.cwd())]
    return ordered([*rewritten(words, known), *own])


def offer_added(words: Sequence[str], known: Vocabulary) -> None:
    """Give Hydra the options chosen that installed packages add: they have no file.

    Raises:
        SettingError: such a package is broken.
    """
    for group, word in ((word.partition("=")[0], word) for word in words if not is_flag(word)):
        for option in values_of(word) if group in known.added else ():
            if option in known.added[group]:
                node = body(known.spec, group, option)
                ConfigStore.instance().store(group=group, name=option, node=node)


def ordered(words: Sequence[str]) -> list[str]:
    """Put settings before flags: Hydra's argument parser takes no setting after a flag."""
    flags = [word for word in words if is_flag(word)]
    return [word for word in words if not is_flag(word)] + flags


def rewritten(words: Sequence[str], verb: Vocabulary) -> list[str]:
    """Write settings the way Hydra sets what a config file left out: `++key=value`.

    That holds for column names and for tables that are null by default. Settings inside a nested
    union become one replacement of it, as `towers.loss.kind=full` would otherwise be merged into
    the fields of the default kind.

    Raises:
        SettingError: a value cannot be read.
    """
    unions = nested_unions(verb.spec)
    kept: list[str] = []
    inside: dict[str, dict[str, list[str]]] = {}
    for word in words:
        key = word.partition("=")[0]
        if is_flag(word):
            kept.append(word)
            continue
        values = values_of(word)
        home = next((path for path in unions if key.startswith(f"{path}.")), None)
        if home is not None:
            inside.setdefault(home, {})[key.removeprefix(f"{home}.")] = values
        elif key in verb.groups or key in HYDRA_KEYS:
            kept.append(word)
        else:
            kept.append(f"++{word}")
    for path, fields in inside.items():
        if "kind" in fields:
            bodies = [
                ",".join(f"{name}:{value}" for name, value in zip(fields, combined, strict=True))
                for combined in product(*fields.values())
            ]
            # the old fields go first: Hydra would merge them into the new ones
            kept += [f"~{path}", f"+{path}={','.join(f'{{{body}}}' for body in bodies)}"]
        else:
            kept += [f"++{path}.{name}={','.join(values)}" for name, values in fields.items()]
    return kept


def readable(word: str) -> str:
    """Return a word as it is, its value in quotes where Hydra's grammar would trip over it.

    So `evaluate.require=ndcg_at_10>popular` is text, and what is no text its Spec refuses.
    """
    try:
        values_of(word)
    except SettingError:
        key, _, value = word.partition("=")
        escaped = value.replace("'", r"\'")
        return f"{key}='{escaped}'"
    return word


def values_of(word: str) -> list[str]:
    """Return the values of `key=value`: several if it is a sweep.

    Raises:
        SettingError: Hydra's grammar cannot read it.
    """
    try:
        read = OverridesParser.create().parse_override(word)
    except HydraException:
        raise SettingError(
            f"cannot read {word!r}",
            "put its value in quotes of its own: key=\"'...'\"",
        ) from None
    if read.is_sweep_override():
        return list(read.sweep_string_iterator())
    return [word.partition("=")[2]]


def compose(verb: str, spec: type[S], words: Sequence[str]) -> S:
    """Compose a verb's config from its files and the words, and check it into its Spec.

    Raises:
        SettingError: unknown names or values out of bounds, all of them at once.
    """
    overrides = arguments(verb, spec, words)
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return accept(hydra.compose(verb, overrides), spec)


def launch(
    verb: str, spec: type[S], words: Sequence[str], *, task: Callable[[Sequence[Asked[S]]], None]
) -> None:
    """Start a task with all runs asked for, several if it is a sweep; --cfg and completion too.

    Each is checked before the first is started. Ends the process where one is refused.
    """
    asked: list[Asked[S]] = []

    def keep(config: DictConfig) -> None:
        given = tuple(HydraConfig.get().overrides.task)
        code = guarded(lambda: asked.append(Asked(accept(config, spec), given)))
        if code:
            sys.exit(code)

    overrides = arguments(verb, spec, words)
    with TemporaryDirectory() as aside:
        if not any(word.startswith("hydra.sweep.dir=") for word in overrides):
            # Hydra notes in multirun.yaml what is swept over; the runs' own config.yaml say it too
            overrides = ordered([*overrides, f"hydra.sweep.dir='{aside}'"])
        sys.argv[1:] = overrides
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=verb)(keep)()
    if asked:
        task(asked)


def accept(config: DictConfig, spec: type[S]) -> S:
    """Turn a composed config into its Spec; behind this line nothing knows Hydra.

    Raises:
        SettingError: values out of bounds or of the wrong type.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as refused:
        raise SettingError(f"{refused.full_key}: {str(refused).splitlines()[0]}") from None
    return from_plain(settled(plain, spec), spec)


def from_plain(plain: Any, spec: type[S]) -> S:
    """Check plain data (a composed config, a config.yaml of a run) into a Spec.

    Raises:
        SettingError: values out of bounds, of the wrong type or with unknown names.
    """
    try:
        return spec.model_validate(plain)
    except ValidationError as refused:
        raise together(sentences(refused.errors(), plain, spec)) from None


def group_spec(spec: type[Spec], group: str, kind: str | None) -> type[Spec]:
    """Return the Spec class behind an option file of a group.

    Raises:
        SettingError: the group has no variant of that kind.
    """
    options = variants(spec.model_fields[group].annotation)
    for option in options:
        if kind is None or kind_of(option) == kind:
            return option
    raise SettingError(
        f"{group} has no kind {kind!r}", f"it can be: {[kind_of(o) for o in options]}"
    )
