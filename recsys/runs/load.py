"""The door: Hydra composes plain YAML, a frozen Spec comes out, all mistakes at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import hydra
import yaml
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

import recsys
from recsys.domain.errors import SettingError
from recsys.domain.spec import Spec
from recsys.runs.command import HELP_FLAGS, Vocabulary, check_words, together
from recsys.runs.guard import guarded
from recsys.runs.help import help_text
from recsys.runs.settings import kind_of, variants, walk

S = TypeVar("S", bound=Spec)

_PACKAGE = Path(recsys.__file__).parent
CONFIGS = next(
    folder for folder in (_PACKAGE.parent / "configs", _PACKAGE / "configs") if folder.is_dir()
)
"""The shipped configs: beside the package in a checkout, inside it in a wheel."""


def vocabulary(verb: str, spec: type[Spec], *, cwd: Path | None = None) -> Vocabulary:
    """Read what a verb's config files offer; a `configs` folder of the user's own adds options."""
    composed = yaml.safe_load((CONFIGS / f"{verb}.yaml").read_text())
    choices = {
        key.removeprefix("optional "): value
        for entry in composed.get("defaults", [])
        if isinstance(entry, dict)
        for key, value in entry.items()
        if "/" not in key
    }
    roots = [CONFIGS, *own_configs(cwd or Path.cwd())]
    groups = {group: options_of(group, roots) for group in choices}
    return Vocabulary(verb=verb, spec=spec, groups=groups, choices=choices)


def own_configs(cwd: Path) -> list[Path]:
    """Return the user's own `configs` folder, if it is there and not the shipped one."""
    own = cwd / "configs"
    return [own] if own.is_dir() and own.resolve() != CONFIGS.resolve() else []


def options_of(group: str, roots: Sequence[Path]) -> dict[str, str | None]:
    """Return option -> kind for the YAML files of one group."""
    files = [file for root in roots for file in sorted((root / group).glob("*.yaml"))]
    return {file.stem: (yaml.safe_load(file.read_text()) or {}).get("kind") for file in files}


def arguments(verb: str, spec: type[Spec], words: Sequence[str]) -> list[str]:
    """Return the words Hydra may see: checked, nested unions rewritten, own configs found.

    Ends the process after `--help`.

    Raises:
        SettingError: unknown settings, options or flags.
    """
    known = vocabulary(verb, spec)
    if HELP_FLAGS & set(words):
        # the one text that is printed before a console exists
        sys.stdout.write(help_text(known, words))
        sys.exit(0)
    check_words(words, known)
    own = [f"hydra.searchpath=[{folder.resolve().as_uri()}]" for folder in own_configs(Path.cwd())]
    return [*rewritten(words, spec), *own]


def rewritten(words: Sequence[str], spec: type[Spec]) -> list[str]:
    """Turn settings inside a nested union into one replacement of that union.

    `towers.loss.kind=full` would otherwise be merged into the fields of the default kind.
    """
    unions = nested_unions(spec)
    kept: list[str] = []
    inside: dict[str, dict[str, str]] = {}
    for word in words:
        key, _, value = word.partition("=")
        home = next((path for path in unions if key.startswith(f"{path}.")), None)
        if home is None:
            kept.append(word)
        else:
            inside.setdefault(home, {})[key.removeprefix(f"{home}.")] = value
    for path, fields in inside.items():
        if "kind" in fields:
            body = ",".join(f"{name}:{value}" for name, value in fields.items())
            kept += [f"~{path}", f"+{path}={{{body}}}"]
        else:
            kept += [f"{path}.{name}={value}" for name, value in fields.items()]
    return kept


def nested_unions(spec: type[Spec], prefix: str = "", depth: int = 0) -> list[str]:
    """Return the dotted paths of unions below the config groups."""
    found = []
    for name, field in spec.model_fields.items():
        below = variants(field.annotation)
        if depth and len(below) > 1:
            found.append(f"{prefix}{name}")
        for variant in below:
            found += nested_unions(variant, f"{prefix}{name}.", depth + 1)
    return list(dict.fromkeys(found))


def compose(verb: str, spec: type[S], words: Sequence[str]) -> S:
    """Compose a verb's config from its files and the words, and check it into its Spec.

    Raises:
        SettingError: unknown names or values out of bounds, all of them at once.
    """
    overrides = arguments(verb, spec, words)
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return accept(hydra.compose(verb, overrides), spec)


def launch(verb: str, spec: type[S], words: Sequence[str], *, task: Callable[[S], None]) -> None:
    """Start a task the way Hydra does, sweeps, --cfg and completion included.

    Ends the process with the task's exit code unless it is 0.
    """

    def start(config: DictConfig) -> None:
        code = guarded(lambda: task(accept(config, spec)))
        if code:
            sys.exit(code)

    sys.argv[1:] = arguments(verb, spec, words)
    hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=verb)(start)()


def accept(config: DictConfig, spec: type[S]) -> S:
    """Turn a composed config into its Spec; behind this line nothing knows Hydra.

    Raises:
        SettingError: values out of bounds or of the wrong type.
    """
    return from_plain(OmegaConf.to_container(config, resolve=True), spec)


def from_plain(plain: Any, spec: type[S]) -> S:
    """Check plain data (a composed config, a config.yaml of a run) into a Spec.

    Raises:
        SettingError: values out of bounds, of the wrong type or with unknown names.
    """
    try:
        return spec.model_validate(plain)
    except ValidationError as refused:
        raise together([sentence(error, plain, spec) for error in refused.errors()]) from None


def sentence(error: Any, plain: Any, spec: type[Spec]) -> str:
    """Say what is wrong with one value, where it stands and what it may be."""
    path = dotted(error["loc"], plain)
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            known = [setting.path for setting in walk(spec, {})]
            close = get_close_matches(path, known, n=1)
            hint = f"\n  did you mean:  {close[0]}" if close else ""
            return f"no setting called {path!r}{hint}"
        case "missing":
            return f"{path} is needed\n  set it: {path}=..."
        case "less_than_equal" | "less_than":
            return f"{path}={value} is more than {context.get('le', context.get('lt'))}"
        case "greater_than_equal" | "greater_than":
            bound = context.get("ge", context.get("gt"))
            return f"{path}={value} is less than the least allowed, {bound}"
        case "literal_error":
            return f"{path}={value} is not there\n  {path} can be: {context['expected']}"
        case "union_tag_invalid":
            possible = context["expected_tags"]
            return f"{path}.kind={context['tag']} is not there\n  it can be: {possible}"
        case "value_error":
            return f"{path or 'config'}: {context['error']}"
        case _:
            return f"{path}={value}: {error['msg']}"


def dotted(loc: Sequence[str | int], plain: Any) -> str:
    """Return the path of a value without the kinds that pydantic puts between."""
    parts: list[str] = []
    node = plain
    for part in loc:
        if isinstance(node, Mapping) and part not in node and node.get("kind") == part:
            continue
        parts.append(str(part))
        node = node.get(part) if isinstance(node, Mapping) else None
    return ".".join(parts)


def threads_before_import(threads: int | None = None) -> None:
    """Keep BLAS and OpenMP to some threads, by default the cores this process may use.

    Libraries imported later read this; what a person has set in the environment stands.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    cores = str(threads or usable)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, cores)
    # two spinning threads on a core that a neighbour took ran 10 to 20 times slower (docs/log.md)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
