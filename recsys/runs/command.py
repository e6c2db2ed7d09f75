"""The command line, checked before Hydra sees it: typos get the nearest setting, exit code 2."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType

from recsys.domain.errors import SettingError
from recsys.domain.spec import Spec
from recsys.runs.settings import takes_any_key, walk

HYDRA_FLAGS = {"--cfg", "-c", "--multirun", "-m", "--shell-completion", "-sc", "job"}
COMPLETING = {"--shell-completion", "-sc"}
OF_COMPLETING = ("install=", "query=")
"""How words begin that say what to complete."""
HYDRA_KEYS = {"hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.mode"}
ALSO_CALLED = {
    "lr": "rate",
    "learning_rate": "rate",
    "batch_size": "rows_per_group",
    "temperature": "tau",
    "embedding_dim": "dim",
    "num_epochs": "epochs",
}
"""Words of other toolkits for settings of ours."""
HELP_FLAGS = {"--help", "-h", "help"}
BARE = {"recommend": "member", "init": "path"}
"""Verbs that take one word without a name -> the setting it stands for."""


@dataclass(frozen=True)
class Vocabulary:
    """What may stand on the command line of one verb."""

    verb: str
    spec: type[Spec]
    groups: Mapping[str, Mapping[str, str | None]]
    """group -> option -> the kind its file selects (None for presets)."""
    choices: Mapping[str, str | None]
    """group -> option chosen by default."""
    added: Mapping[str, Collection[str]] = field(default_factory=dict)
    """group -> options that installed packages add: they have no file."""
    inside: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """(group, option) -> a dotted path below it, and the kind of a package that it holds there."""
    implied: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    """(group, option) -> group -> option that its file chooses."""

    def keys(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Return every dotted setting with its meaning, given the kinds chosen."""
        return {setting.path: setting.meaning for setting in walk(self.spec, chosen)}


def check_words(words: Sequence[str], vocabulary: Vocabulary) -> None:
    """Refuse unknown flags, groups, options and settings, all mistakes at once.

    Raises:
        SettingError: with the nearest name for each mistake.
    """
    chosen = chosen_kinds(words, vocabulary)
    known = vocabulary.keys(chosen)
    mistakes = [mistake for word in words if (mistake := mistake_in(word, vocabulary, known))]
    if not COMPLETING & set(words):
        stray = [word for word in words if word.startswith(OF_COMPLETING)]
        mistakes += [(f"{word}: goes with --shell-completion alone",) for word in stray]
    if mistakes:
        raise together(["\n  ".join(mistake) for mistake in mistakes])


def spelled_out(words: Sequence[str], verb: str) -> list[str]:
    """Give the one bare word that a verb may take its name: recommend m42 -> member='m42'."""
    key = BARE.get(verb)
    bare = [
        word for word in words if "=" not in word and not is_flag(word) and word[:1] not in "-+~"
    ]
    if key is None or len(bare) != 1 or any(word.startswith(f"{key}=") for word in words):
        return list(words)
    # in quotes, as 0042 and null are ids too
    text = bare[0].replace("\\", r"\\").replace("'", r"\'")
    return [f"{key}='{text}'" if word == bare[0] else word for word in words]


def together(texts: Sequence[str]) -> SettingError:
    """Make one error of several texts, each of which may have lines of its own."""
    return SettingError("\nerror: ".join(dict.fromkeys(texts)))


def chosen_kinds(words: Sequence[str], vocabulary: Vocabulary) -> dict[str, str]:
    """Return path -> kind for each config group and each `something.kind=...` on the line."""
    options = dict(vocabulary.choices)
    kinds: dict[str, str] = {}
    named = [word.partition("=")[::2] for word in words]
    for key, value in named:
        options |= vocabulary.implied.get((key, value), {})
    for key, value in named:
        if key in vocabulary.groups:
            options[key] = value
        elif key.endswith(".kind"):
            kinds[key.removesuffix(".kind")] = value
    for group, option in options.items():
        path, inner = vocabulary.inside.get((group, option or ""), ("", ""))
        if path:
            kinds.setdefault(path, inner)
        kind = vocabulary.groups.get(group, {}).get(option or "")
        if kind and "," not in (option or ""):
            kinds.setdefault(group, kind)
    return kinds


def mistake_in(
    word: str, vocabulary: Vocabulary, known: Mapping[str, str]
) -> tuple[str, ...] | None:
    """Return the lines of an error text for one word, or None if it is right."""
    key, equals, value = word.partition("=")
    if is_flag(word) or key in HYDRA_KEYS:
        return None
    if key.startswith("-"):
        return dashes(key, value, known)
    if key.startswith(("+", "~")):
        plain = key.lstrip("+~")
        hint = () if plain in vocabulary.groups else nearest(plain, value, known)
        return (f"{word}: settings are never added or removed, only set", *hint)
    if not equals:
        return bare(word, vocabulary)
    if key in vocabulary.groups:
        return option_mistake(key, value, vocabulary)
    if key in known or takes_any_key(vocabulary.spec, key):
        return None
    hint = nearest(key, value, known, groups=vocabulary.groups)
    return (
        f"no setting called {key!r} (in {word})",
        *(hint or (f"all of them: recsys {vocabulary.verb} --help",)),
    )


def bare(word: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Explain that a word needs a name, and name the setting whose value it could be."""
    of_value = by_value(word, vocabulary.groups)
    return (
        f"{word!r} is no setting: write key=value",
        *(of_value or (f"all of them: recsys {vocabulary.verb} --help",)),
    )


def by_value(value: str, groups: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Suggest the group that has an option called like a value."""
    owners = [group for group, options in groups.items() if value in options]
    return (f"did you mean:  {owners[0]}={value}",) if owners else ()


def is_flag(word: str) -> bool:
    """Tell whether a word is a flag of Hydra's that we keep, or the value of one."""
    return word in HYDRA_FLAGS or word.startswith(OF_COMPLETING)


def dashes(key: str, value: str, known: Mapping[str, str]) -> tuple[str, ...]:
    """Explain that settings carry no dashes, and name the setting that was meant."""
    plain = key.lstrip("-").replace("-", "_")
    return (
        f"no option {key}: options are key=value, with no dashes",
        *nearest(plain, value, known),
    )


def option_mistake(group: str, value: str, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    """Return what is wrong with `group=value`, or None."""
    options = vocabulary.groups[group]
    unknown = [v for v in value.split(",") if v not in options and v != "null"]
    if not unknown:
        return None
    close = get_close_matches(unknown[0], options, n=1, cutoff=0.5)
    hint = f"        did you mean: {group}={close[0]}" if close else ""
    return (
        f"{group}={unknown[0]} is not there",
        f"{group} can be: {', '.join(sorted(options))}{hint}",
    )


def nearest(
    key: str,
    value: str,
    known: Mapping[str, str],
    *,
    groups: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Suggest at most three settings: the same last part anywhere, else close spellings.

    Where nothing is spelled alike, the group that has an option called like the value.
    """
    last = key.rpartition(".")[2]
    same = [p for p in known if p.rpartition(".")[2] in {last, ALSO_CALLED.get(last)}]
    found = list(dict.fromkeys(same or spelled_alike(key, [*groups, *known])))[:3]
    if not found:
        return by_value(value, groups)
    shown = [f"{path}={value}" if value else path for path in found]
    return (f"did you mean:  {shown[0]}", *(f"          or:  {line}" for line in shown[1:]))


def spelled_alike(key: str, paths: Sequence[str]) -> list[str]:
    """Return paths whose last part is like that of `key`, those of the same section first.

    Whole paths are not compared: a section that is spelled right would make all of it alike.
    """
    home, _, last = key.rpartition(".")
    ends = {path.rpartition(".")[2]: path for path in reversed(paths)}
    inside = {path.rpartition(".")[2]: path for path in paths if path.rpartition(".")[0] == home}
    near = [inside[end] for end in get_close_matches(last, inside, n=3, cutoff=0.7)]
    far = [ends[end] for end in get_close_matches(last, ends, n=2, cutoff=0.8)]
    longer = [path for path in paths if len(last) > 2 and last in path.rpartition(".")[2]]
    return [*near, *far, *longer]
