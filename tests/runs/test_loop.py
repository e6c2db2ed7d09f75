from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from recsys.domain.artefact import read_manifest
from recsys.runs.spec import Train
from tests.runs.conftest import Trained
from tests.runs.starting import only, recsys, verb

pytestmark = pytest.mark.slow

FIGURE = r"(0\.\d{4} ± 0\.\d{4}|-)"
KNOWN = (
    r"",
    r"recsys \S+   runs/\S+_fdr        Ctrl-C once: save and stop",
    r"  device   cpu, \d+ threads? and one for batches",
    r"  data     flash_sales \(simulated, truth known\), \d+ \w+ \d{4} to \d+ \w+ \d{4}",
    r"           [\d,]+ members, [\d,]+ sales, [\d,]+ events",
    r"  checks   [\d,]+ rows read, [\d,]+ set aside",
    r"  split    by time: towers to \d+ \w+, validation to \d+ \w+, value to \d+ \w+,",
    r"             calibration to \d+ \w+, test to \d+ \w+",
    r"  requests \d+, \d+, \d+, \d+, \d+",
    r"  features \d+ fields a sale, \d+ a member, \d+\.\d% share a row",
    r"  memory   about \d+ MB of \d+\.\d GB \((cpu|cuda)\)",
    r"           ([a-z ]+ \d+ MB,? ?){3,4}",
    r" epoch    loss   val/ndcg_at_10   val/recall_at_10   requests/s    time",
    r" +\d+ +\d+\.\d{3} +0\.\d{4} (best|    ) +0\.\d{4} +[\d,]+ +\d:\d\d",
    r"  value    \d+ purchases to learn from, so it foretells engagement",
    r"  value    (known|new)_brand has \d+ \w+s, calibrated with the other",
    r" test, \d+ \w+ \d{4} to \d+ \w+ \d{4}: \d+ requests, slice day0",
    r" ± half of a 95 % interval, members drawn anew",
    r"( +([a-z]+_at_\d+|mrr)){3}",
    rf"  \w+( \((ours|truth)\))? +{FIGURE} +{FIGURE} +{FIGURE}",
    r"  report   runs/\S+_fdr/report\.html",
    r"  bundle   bundles/[0-9a-f]{16}         now CURRENT",
    r"next",
    r"  (recsys|python) .*",
    r"done in \d:\d\d",
)
"""Every line that a run may print: an advert or a warning of a library is none of them."""


def test_a_run_prints_known_lines_alone_within_eighty_columns(trained: Trained) -> None:
    assert trained.said.returncode == 0, trained.said.stderr
    assert not trained.said.stderr
    lines = trained.said.stdout.splitlines()
    known = re.compile("|".join(f"(?:{pattern})" for pattern in KNOWN))
    assert [line for line in lines if known.fullmatch(line) is None] == []
    assert [line for line in lines if len(line) > 80] == []


def test_what_value_foretells_is_told_on_the_console_and_in_the_report(trained: Trained) -> None:
    said = next(line for line in trained.said.stdout.splitlines() if line.startswith("  value "))
    page = (trained.run / "report.html").read_text()
    assert f"value: {said.removeprefix('  value').strip()}" in page
    assert "taste is expected engagements; new and curated are bonuses" in page


def test_the_log_holds_what_was_printed(trained: Trained) -> None:
    assert (trained.run / "log.txt").read_text() == trained.said.stdout


def test_run_json_tells_how_it_went(trained: Trained) -> None:
    facts = json.loads((trained.run / "run.json").read_text())
    assert (facts["status"], facts["exit_code"], facts["error"]) == ("done", 0, "")
    assert facts["command"] == "python train.py debug=fdr"
    assert facts["bundle"] == trained.bundle.name
    assert (trained.run / "checkpoints" / facts["checkpoint"]).is_dir()
    assert (trained.run / "encoders" / facts["encoders"]).is_dir()
    assert facts["data_fingerprint"] == read_manifest(trained.bundle).parents["dataset"]


def test_the_config_kept_is_the_whole_config(trained: Trained) -> None:
    spec = Train.model_validate(yaml.safe_load((trained.run / "config.yaml").read_text()))
    assert (spec.name, spec.towers.epochs, spec.evaluate.bootstrap_draws) == ("fdr", 1, 100)
    assert spec.data.kind == "flash_sales"


def test_metrics_have_a_row_an_epoch(trained: Trained) -> None:
    with (trained.run / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["epoch"], row["best"]) == ("1", "1")
    assert 0 < float(row["val/ndcg_at_10"]) < 1


def test_the_report_is_one_page_without_network_or_script(trained: Trained) -> None:
    page = (trained.run / "report.html").read_text()
    assert "python train.py debug=fdr" in page
    assert "<script" not in page
    assert re.findall(r"(?:src|href)=[\"'](?:https?:)?//", page) == []
    judged = json.loads((trained.run / "report.json").read_text())["report"]["scorers"]
    assert {"taste", "slates", "random", "popular", "oracle", "visible_oracle"} <= judged.keys()


def test_one_member_gets_a_slate_with_parts_and_reasons(trained: Trained) -> None:
    words = ["recommend", "m000042", "slots=4"]
    said = verb(trained.folder, *words)
    assert (said.returncode, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    assert lines[0] == "m000042"
    assert len(lines) == 1 + 3 * 4
    for place in range(4):
        title, parts, reason = lines[1 + 3 * place : 4 + 3 * place]
        assert title.startswith(f"  {place + 1:>2}  ")
        assert re.fullmatch(
            r" {6}taste -?\d\.\d{4}  new -?\d\.\d{4}(  curated -?\d\.\d{4})?", parts
        )
        assert reason.startswith("      ")
        assert len(reason.strip()) > 5
    assert all(len(line) <= 80 for line in lines)
    assert said.stdout == recsys(trained.folder, *words).stdout


def test_a_time_without_sales_is_said_so(trained: Trained) -> None:
    said = verb(trained.folder, "recommend", "m000042", "at=2030-01-01")
    assert said.stdout == "m000042   no sale is open then\n"
    wrong = verb(trained.folder, "recommend", "m000042", "at=yesterday")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: at: 'yesterday' is no instant")


def test_the_command_that_a_run_ends_with_can_be_typed(trained: Trained) -> None:
    typed = re.search(r"^  recsys (recommend member=\S+)", trained.said.stdout, re.MULTILINE)
    assert typed is not None
    said = verb(trained.folder, *typed[1].split())
    assert (said.returncode, said.stderr) == (0, "")
    assert not any(line != line.rstrip() for line in said.stdout.splitlines())


def test_slates_as_json_hold_parts_that_add_up(trained: Trained) -> None:
    words = ["recommend", "member=[m000042,m000007]", "slots=5", "format=json"]
    said = verb(trained.folder, *words)
    answers = json.loads(said.stdout)
    assert [answer["member"] for answer in answers] == ["m000042", "m000007"]
    for answer in answers:
        assert [place["slot"] for place in answer["sales"]] == [1, 2, 3, 4, 5]
        for place in answer["sales"]:
            total = place["taste"] + place["new"] + place["curated"]
            assert total == pytest.approx(place["gain"], abs=1e-9)
            assert place["because"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["recommend", "member=nobody"], 2, "knows no member 'nobody'"),
        (["recommend", "member=m000042", "bundle=nope"], 4, "bundles/nope"),
        (["recommend"], 2, "no member named"),
        (["refresh", "run=nope"], 4, "no run 'nope' in runs"),
        (["export", "bundles_dir=elsewhere"], 4, "nothing to use in elsewhere"),
    ],
)
def test_what_is_not_there_is_named(
    trained: Trained, words: list[str], code: int, text: str
) -> None:
    said = verb(trained.folder, *words)
    assert (said.returncode, said.stdout) == (code, "")
    assert text in said.stderr
    assert "Traceback" not in said.stderr


def test_refresh_makes_the_same_bundle_of_the_same_data_without_training(copied: Trained) -> None:
    (copied.folder / "bundles" / "CURRENT").unlink()
    said = verb(copied.folder, "refresh")
    assert said.returncode == 0, said.stderr
    assert "epoch" not in said.stdout
    assert copied.bundle.name == json.loads((copied.run / "run.json").read_text())["bundle"]
    assert "\n  python serve_index.py " in said.stdout
    quiet = verb(copied.folder, "refresh", "quiet=true")
    assert quiet.stdout == f"bundles/{copied.bundle.name}\n"


def test_refresh_uses_the_model_that_is_served_whatever_failed_since(copied: Trained) -> None:
    run, failed = copied.run, copied.folder / "runs" / "2999-01-01_000000_failed"
    failed.mkdir()
    facts = {"status": "failed", "started_at": "", "command": ""}
    (failed / "run.json").write_text(json.dumps(facts))
    link = copied.folder / "runs" / "latest"
    link.unlink()
    link.symlink_to(failed.name)
    said = verb(copied.folder, "refresh")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"refresh with the model of runs/{run.name}\n")
    shutil.copytree(run, copied.folder / "runs" / "2998-01-01_000000_newer")
    newer = copied.folder / "runs" / "2998-01-01_000000_newer" / "run.json"
    known = json.loads(newer.read_text())
    newer.write_text(json.dumps(known | {"checkpoint": "none"}))
    again = verb(copied.folder, "refresh")
    assert again.stdout.startswith(f"refresh with the model of runs/{run.name}\n")
    refused = verb(copied.folder, "refresh", "run=latest")
    assert refused.returncode == 4
    assert "refresh with the model that is served: leave out run=..." in refused.stderr


def test_a_dry_run_of_the_service_opens_the_bundle_and_does_not_listen(trained: Trained) -> None:
    said = verb(trained.folder, "serve", "dry_run=true")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"serving bundles/{trained.bundle.name}   made ")
    assert said.stdout.endswith("dry run: nothing listens\n")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("bundles/*/sales/vectors.npy", "recommend"),
        ("bundles/*/index.faiss", "serve"),
        ("runs/2*/encoders/*/encoders.json", "refresh"),
        ("runs/2*/checkpoints/*/tensors.safetensors", "refresh"),
    ],
)
def test_a_damaged_file_is_refused_by_its_name(copied: Trained, file: str, name: str) -> None:
    damaged = only(copied.folder, file)
    damaged.chmod(0o644)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    words = {"recommend": ["member=m000042"], "serve": ["dry_run=true"]}.get(name, [])
    said = verb(copied.folder, name, *words)
    assert said.returncode == 4
    assert said.stderr.startswith("error: ")
    assert str(damaged.relative_to(copied.folder)) in said.stderr
    if name != "refresh":
        assert "make a new one: recsys refresh" in said.stderr
        again = verb(copied.folder, "refresh")
        assert again.returncode == 4
        assert f"python train.py resume=runs/{copied.run.name}" in again.stderr
    assert "Traceback" not in said.stderr


def test_a_run_that_is_done_is_judged_again_without_an_epoch(copied: Trained) -> None:
    before = copied.bundle.name
    (copied.run / "report.html").unlink()
    said = verb(copied.folder, "train", f"resume=runs/{copied.run.name}")
    assert (said.returncode, said.stderr) == (0, "")
    assert re.search(r"^ +1 +\d+\.\d{3} ", said.stdout, re.MULTILINE) is None
    assert "  resumed  status was done; goes on after epoch 1\n" in said.stdout
    assert (copied.run / "report.html").exists()
    assert copied.bundle.name == before


def test_a_run_killed_before_its_first_checkpoint_starts_again_in_its_folder(
    copied: Trained,
) -> None:
    before = np.load(copied.bundle / "members" / "vectors.npy")
    shutil.rmtree(copied.run / "checkpoints")
    shutil.rmtree(copied.folder / "bundles")
    (copied.run / "metrics.csv").unlink()
    facts = json.loads((copied.run / "run.json").read_text())
    (copied.run / "run.json").write_text(json.dumps(facts | {"status": "running"}))
    said = verb(copied.folder, "train", "debug=fdr", "resume=auto", "quiet=true")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == f"runs/{copied.run.name}\n"
    told = "  resumed  status was running; no checkpoint yet: from the start"
    assert told in (copied.run / "log.txt").read_text()
    facts = json.loads((copied.run / "run.json").read_text())
    assert facts["said"].count(told) == 1
    # to the bit in a fresh process alone (test_resume): this one has other libraries loaded
    after = np.load(copied.bundle / "members" / "vectors.npy")
    assert np.abs(after - before).max() < 1e-3


def test_a_run_with_nothing_to_go_on_with_says_so(tmp_path: Path) -> None:
    words = ["debug=fdr", "resume=auto", "evaluate.require=ndcg_at_10>2"]
    said = verb(tmp_path, "train", *words)
    assert said.returncode == 5
    assert "no unfinished run has these settings: this is a new one" in said.stdout
    assert not (tmp_path / "bundles").exists()
    page = only(tmp_path, "runs/2*/report.html").relative_to(tmp_path)
    assert f"  report   {page}\n" in said.stdout
    facts = json.loads((only(tmp_path, "runs/2*") / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("failed", 5)
    assert facts["error"] in said.stderr.replace("error: ", "")
