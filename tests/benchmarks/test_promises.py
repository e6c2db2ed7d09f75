from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks import promises
from benchmarks.promises import BEGINS, ENDS, ROOT, Case, Promise, cases, dotted, table, write

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.a.test_b" name="test_c[one]" time="1.5"><properties>
<property name="times" value="300"/><property name="said" value="0 torn"/></properties></testcase>
<testcase classname="tests.a.test_b" name="test_d" time="0.5"/>
<testcase classname="tests.a.test_b" name="test_e" time="0"><failure message="no"/></testcase>
<testcase classname="tests.a.test_f" name="test_g" time="0">
<skipped type="pytest.skip" message="no disk"/></testcase>
</testsuite></testsuites>"""
ROW = Promise(1, "whole", "kills", tests=("tests/a/test_b.py",), elsewhere=("tests/x/test_y.py",))


def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_named_in_the_list_is_there() -> None:
    for one in promises.promises():
        for test in (*one.tests, *one.elsewhere):
            file, _, function = test.partition("::")
            assert (ROOT / file).is_file(), test
            assert not function or function in functions(file), test


def test_every_promise_of_the_first_eighteen_is_listed_and_shown_or_said_not_to_be() -> None:
    listed = promises.promises()
    assert [one.number for one in listed[:18]] == list(range(1, 19))
    assert all(one.tests or one.elsewhere or one.lacks for one in listed)


def test_every_file_of_the_folder_shows_a_promise() -> None:
    named = {promises.file_of(test) for one in promises.promises() for test in one.tests}
    there = {f"tests/reliability/{p.name}" for p in (ROOT / "tests/reliability").glob("test_*.py")}
    assert there <= named


def test_a_row_says_how_often_and_what_came_of_it() -> None:
    shown, plain, *_ = cases(REPORT)
    assert shown == Case("tests.a.test_b.test_c", 1.5, 300, "0 torn")
    assert ROW.row([shown, plain], everything=False) == (
        "| 1 | whole | kills | 300 | 0 torn; 1 more tests; in `make test`: tests/x/test_y.py | 2 |"
    )
    assert ROW.row([plain], everything=True) == "| 1 | whole | kills | 1 | 1 tests | 0 |"


def test_what_failed_is_broken_and_what_could_not_run_is_not_shown() -> None:
    *_, failed, skipped = cases(REPORT)
    assert "**broken**: tests.a.test_b.test_e" in ROW.row([failed], everything=True)
    other = Promise(2, "p", "h", tests=("tests/a/test_f.py::test_g",), lacks="the rest")
    assert other.row([failed, skipped], everything=False) == (
        "| 2 | p | h | 0 | *not shown*: no disk; *not shown yet*: the rest | 0 |"
    )
    assert Promise(3, "p", "h", lacks="all of it").row([failed], everything=False) == (
        "| 3 | p | h |  | *not shown yet*: all of it |  |"
    )


def test_names_of_tests_are_told_apart() -> None:
    assert dotted("tests/a/test_b.py::test_c") == "tests.a.test_b.test_c"
    assert promises.belongs("tests.a.test_b.test_c", "tests.a.test_b")
    assert not promises.belongs("tests.a.test_bc.test_c", "tests.a.test_b")
    assert not promises.belongs("tests.a.test_b.test_cd", "tests.a.test_b.test_c")


def test_the_page_has_a_place_for_the_table_and_it_alone_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGINS}\nold\n{ENDS}\nafter\n")
    write("new", page=page)
    assert page.read_text() == f"before\n{BEGINS}\nnew\n{ENDS}\nafter\n"
    page.write_text("no place")
    with pytest.raises(ValueError, match="has no place"):
        write("new", page=page)
    text = promises.PAGE.read_text(encoding="utf-8")
    assert text.index(BEGINS) < text.index(ENDS)


def test_the_page_has_a_row_for_every_promise() -> None:
    _, _, rest = promises.PAGE.read_text(encoding="utf-8").partition(BEGINS)
    rows = [line for line in rest.partition(ENDS)[0].splitlines() if line.startswith("| ")]
    made = table([], everything=False).splitlines()
    said = [row.split(" | ")[:3] for row in rows[1:]]
    assert said == [row.split(" | ")[:3] for row in made[2:]]
