"""The command line, checked before Hydra sees it: typos get the nearest setting, exit code 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from recsys.domain.errors import SettingError
from recsys.domain.spec import Spec
from recsys.runs.settings import takes_any_key, walk

HYDRA_FLAGS = {"--cfg", "-c", "--multirun", "-m", "--shell-completion", "-sc", "job"}
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


@dataclass(frozen=True)
class Vocabulary:
    """What may stand on the command line of one verb."""

    verb: str
    spec: type[Spec]
    groups: Mapping[str, Mapping[str, str | None]]
    """group -> option -> the kind its file selects (None for presets)."""
    choices: Mapping[str, str | None]
    """group -> option chosen by default."""

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
    if mistakes:
        raise together(["\n  ".join(mistake) for mistake in mistakes])


def together(texts: Sequence[str]) -> SettingError:
    """Make one error of several texts, each of which may have lines of its own."""
    return SettingError("\nerror: ".join(dict.fromkeys(texts)))


def chosen_kinds(words: Sequence[str], vocabulary: Vocabulary) -> dict[str, str]:
    """Return path -> kind for each config group and each `something.kind=...` on the line."""
    options = dict(vocabulary.choices)
    kinds: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key in vocabulary.groups:
            options[key] = value
        elif key.endswith(".kind"):
            kinds[key.removesuffix(".kind")] = value
    for group, option in options.items():
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
        return (
            f"{word!r} is no setting: write key=value",
            f"all of them: recsys {vocabulary.verb} --help",
        )
    if key in vocabulary.groups:
        return option_mistake(key, value, vocabulary)
    if key in known or takes_any_key(vocabulary.spec, key):
        return None
    hint = nearest(key, value, known, groups=list(vocabulary.groups))
    return (
        f"no setting called {key!r} (in {word})",
        *(hint or (f"all of them: recsys {vocabulary.verb} --help",)),
    )


def is_flag(word: str) -> bool:
    """Tell whether a word is a flag of Hydra's that we keep, or the value of one."""
    return word in HYDRA_FLAGS or word.startswith(("install=", "query="))


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
    key: str, value: str, known: Mapping[str, str], *, groups: Sequence[str] = ()
) -> tuple[str, ...]:
    """Suggest at most three settings: the same last part anywhere, else close spellings."""
    last = key.rpartition(".")[2]
    same = [p for p in known if p.rpartition(".")[2] in {last, ALSO_CALLED.get(last)}]
    spelled = get_close_matches(key, [*groups, *known], n=3, cutoff=0.7)
    ends = {path.rpartition(".")[2]: path for path in known}
    close_ends = [ends[end] for end in get_close_matches(last, ends, n=2, cutoff=0.7)]
    contains = [
        path for path in known if last and len(last) > 1 and last in path.rpartition(".")[2]
    ]
    found = list(dict.fromkeys(same or [*spelled, *close_ends, *contains]))[:3]
    if not found:
        return ()
    shown = [f"{path}={value}" if value else path for path in found]
    return (f"did you mean:  {shown[0]}", *(f"          or:  {line}" for line in shown[1:]))
