from __future__ import annotations

from functools import partial

import pytest

from recsys.domain.spec import Spec
from recsys.runs.cli import VERBS
from recsys.runs.command import Vocabulary, chosen_kinds, nearest, spelled_out
from recsys.runs.guard import guarded
from recsys.runs.load import compose
from recsys.runs.spec import Init, Recommend, Train

GOLDEN = {
    "lr=0.1": """\
error: no setting called 'lr' (in lr=0.1)
  did you mean:  towers.rate=0.1
""",
    "dim=128": """\
error: no setting called 'dim' (in dim=128)
  did you mean:  towers.dim=128
""",
    "modle=two_tower": """\
error: no setting called 'modle' (in modle=two_tower)
  did you mean:  towers=two_tower
""",
    "evaluate.confidence=1.4": """\
error: no setting called 'evaluate.confidence' (in evaluate.confidence=1.4)
  all of them: recsys train --help
""",
    "evaluate.headlin=mrr": """\
error: no setting called 'evaluate.headlin' (in evaluate.headlin=mrr)
  did you mean:  evaluate.headline=mrr
""",
    "tower.dim=8": """\
error: no setting called 'tower.dim' (in tower.dim=8)
  did you mean:  towers.dim=8
""",
    "retrieval=exat": """\
error: retrieval=exat is not there
  retrieval can be: exact, hnsw, ivf, pq        did you mean: retrieval=exact
""",
    "towers=bert": """\
error: towers=bert is not there
  towers can be: two_tower
""",
    "--epochs=3": """\
error: no option --epochs: options are key=value, with no dashes
  did you mean:  towers.epochs=3
""",
    "--dry-run": """\
error: no option --dry-run: options are key=value, with no dashes
  did you mean:  dry_run
""",
    "+towers.dim=8": """\
error: +towers.dim=8: settings are never added or removed, only set
  did you mean:  towers.dim=8
""",
    "~towers": """\
error: ~towers: settings are never added or removed, only set
""",
    "fast": """\
error: 'fast' is no setting: write key=value
  all of them: recsys train --help
""",
    "globo": """\
error: 'globo' is no setting: write key=value
  did you mean:  data=globo
""",
    "towers.dim=2": """\
error: towers.dim=2 is less than the least allowed, 4
""",
    "data.max_quarantined_share=1.4": """\
error: data.max_quarantined_share=1.4 is more than 1.0
""",
    "towers.dim=wide": """\
error: towers.dim=wide is no whole number
""",
    "data.logging_policy=best": """\
error: data.logging_policy=best is not there
  data.logging_policy can be: random, editors, popular, taste
""",
    "towers.loss.kind=hinge": """\
error: towers.loss.kind=hinge is not there
  it can be: auto, live_shelf, sampled, full
""",
    "towers.loss.uniform=9": """\
error: no setting called 'towers.loss.uniform'
  another kind has it: set towers.loss.kind=sampled too
""",
    "data.zone=Mars": """\
error: data.zone: no time zone 'Mars'; IANA names look like Europe/Paris
""",
    "towers.dim=8,16": """\
error: towers.dim=8,16 names several values
  one run each: add -m     a list: key=[a,b]
""",
    "name=a=b": """\
error: name=a=b is not written as it must be
  Ends the name of the run's folder: letters, digits and . _ - are possible, up
    to 61.
""",
    "towers.dim=[8": """\
error: towers.dim=[8 is no whole number
""",
    "data.retries=x": """\
error: no setting called 'data.retries' (in data.retries=x)
  all of them: recsys train --help
""",
    "quiet=loud": """\
error: quiet=loud is neither true nor false
""",
    "towers.rate=fast": """\
error: towers.rate=fast is no number
""",
    "evaluate.ks=[0]": """\
error: evaluate.ks.0=0 is less than the least allowed, 1
""",
    "evaluate.ks=[]": """\
error: evaluate.ks needs 1 or more values
""",
    "evaluate.require=foo>bar": """\
error: evaluate.require=foo>bar: no metric called 'foo'
  possible: mrr, auc, mean_percentile_rank, ndcg_at_20, recall_at_20,
    capped_recall_at_20, hit_at_20, ...
""",
    "evaluate.require=ndgc_at_10>popular": """\
error: evaluate.require=ndgc_at_10>popular: no metric called 'ndgc_at_10'
  did you mean:  ndcg_at_10
""",
    "evaluate.require=ndcg_at_10>populer": """\
error: evaluate.require=ndcg_at_10>populer: no scorer or number called 'populer'
  did you mean:  popular
""",
    "name=${nothing}": """\
error: name: Interpolation key 'nothing' not found
""",
}


def accepted(verb: str, spec: type[Spec], words: list[str]) -> None:
    compose(verb, spec, words)


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    code = guarded(partial(accepted, "train", Train, words))
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    return said.err


@pytest.mark.parametrize("word", GOLDEN)
def test_a_mistake_is_answered_word_for_word(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused([word], capsys)
    assert said == GOLDEN[word]
    assert all(len(line) <= 80 for line in said.splitlines())


def test_several_mistakes_are_told_together(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["lr=0.1", "retrieval=exat", "--epochs=3"]
    assert refused(words, capsys) == "".join(GOLDEN[word] for word in words)


def test_several_values_out_of_bounds_are_told_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["data.max_quarantined_share=1.4", "towers.dim=2", "towers.loss.kind=hinge"]
    assert refused(words, capsys) == "".join(GOLDEN[word] for word in words)


def test_every_verb_refuses_what_it_does_not_know() -> None:
    for verb, (spec, _, _) in VERBS.items():
        assert guarded(partial(accepted, verb, spec, ["nonsense=1"])) == 2


def test_the_value_typed_stands_in_the_suggestion_and_three_are_enough() -> None:
    known = {f"a{n}.rate": "" for n in range(5)}
    assert nearest("rate", "7", known) == (
        "did you mean:  a0.rate=7",
        "          or:  a1.rate=7",
        "          or:  a2.rate=7",
    )
    assert nearest("rate", "", {"a.rate": ""}) == ("did you mean:  a.rate",)
    assert nearest("zzz", "1", known) == ()


def test_kinds_come_from_option_files_and_from_the_line() -> None:
    vocabulary = Vocabulary("train", Train, {"data": {"a": "globo", "b": None}}, {"data": "a"})
    assert chosen_kinds([], vocabulary) == {"data": "globo"}
    assert chosen_kinds(["data=b", "towers.loss.kind=full"], vocabulary) == {"towers.loss": "full"}


@pytest.mark.parametrize("member", ["m000042", "0042", "12346", "null", "it's", "a b"])
def test_recommend_takes_a_member_as_a_bare_word(member: str) -> None:
    assert compose("recommend", Recommend, [member]).member == member
    assert compose("recommend", Recommend, ["slots=3", member]).slots == 3


def test_init_takes_a_folder_as_a_bare_word() -> None:
    assert compose("init", Init, ["my data/", "zone=UTC"]).path == "my data/"


def test_whole_numbers_are_ids_too() -> None:
    assert compose("recommend", Recommend, ["member=12346"]).member == "12346"
    assert compose("recommend", Recommend, ["member=[12346,a]"]).member == ("12346", "a")


def test_a_bare_word_has_one_meaning_or_none() -> None:
    for words in (["a", "b"], ["a", "member=b"], ["--cfg", "job"], ["--help"], []):
        assert spelled_out(words, "recommend") == words
    assert spelled_out(["a"], "train") == ["a"]


def test_a_right_section_does_not_make_a_wrong_name_alike() -> None:
    known = {"evaluate.slices": "", "evaluate.headline": "", "data.cadence": ""}
    assert nearest("evaluate.confidence", "1.4", known) == ()
    assert nearest("evaluate.slice", "x", known) == ("did you mean:  evaluate.slices=x",)
    assert nearest("modle", "b", known, groups={"towers": {"a"}, "data": {"b"}}) == (
        "did you mean:  data=b",
    )
