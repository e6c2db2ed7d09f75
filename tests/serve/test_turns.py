from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from recsys.serve.refusal import RefusedError
from recsys.serve.turns import Kind, Turns

CROWD = 64
FOR_EVER = float("inf")


class Echo:
    """Answers each question with itself, and keeps what came together."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.threads: set[int] = set()

    def __call__(self, questions: Sequence[str]) -> list[str]:
        self.passes.append(list(questions))
        self.threads.add(threading.get_ident())
        return [f"{question}!" for question in questions]


async def all_of(turns: Turns, kind: Kind[str, str], questions: Sequence[str]) -> list[str]:
    asked = [turns.ask(kind, question, until=FOR_EVER) for question in questions]
    return list(await asyncio.gather(*asked))


def test_what_is_asked_at_once_is_answered_together_and_each_gets_its_own() -> None:
    echo, questions = Echo(), [str(number) for number in range(100)]
    answers = asyncio.run(all_of(Turns(256), Kind("one", echo), questions))
    assert answers == [f"{question}!" for question in questions]
    assert [len(together) for together in echo.passes] == [64, 36]


def test_one_alone_is_answered_alone() -> None:
    echo = Echo()

    async def in_turn() -> list[str]:
        turns = Turns(256)
        return [(await all_of(turns, Kind("one", echo), [each]))[0] for each in "abc"]

    assert asyncio.run(in_turn()) == ["a!", "b!", "c!"]
    assert echo.passes == [["a"], ["b"], ["c"]]


def test_kinds_do_not_mix_and_take_turns() -> None:
    echo = Echo()

    async def both() -> None:
        turns = Turns(256)
        many = all_of(turns, Kind("many", echo, most=2), ["a", "b", "c", "d", "e"])
        await asyncio.gather(many, all_of(turns, Kind("few", echo), ["x", "y"]))
        assert turns.waiting == 0

    asyncio.run(both())
    assert echo.passes == [["a", "b"], ["x", "y"], ["c", "d"], ["e"]]


def test_a_full_queue_refuses_without_asking_and_takes_more_once_it_is_served() -> None:
    echo, turns = Echo(), Turns(3)

    async def crowd() -> list[Any]:
        kind = Kind("one", echo)
        asked = [turns.ask(kind, each, until=FOR_EVER) for each in "abcde"]
        first = await asyncio.gather(*asked, return_exceptions=True)
        return [*first, *await all_of(turns, kind, ["f"])]

    answers = asyncio.run(crowd())
    assert [answer for answer in answers if isinstance(answer, str)] == ["a!", "b!", "c!", "f!"]
    refused = [answer for answer in answers if isinstance(answer, RefusedError)]
    assert {(one.status, one.error, one.headers["Retry-After"]) for one in refused} == {
        (503, "overloaded", "1")
    }
    assert len(refused) == 2
    assert echo.passes == [["a", "b", "c"], ["f"]]


def test_who_waited_beyond_the_deadline_is_told_so_and_costs_nothing() -> None:
    echo, now = Echo(), 10.0
    turns = Turns(256, clock=lambda: now)

    async def asked() -> list[Any]:
        kind = Kind("one", echo)
        both = [turns.ask(kind, "late", until=9.0), turns.ask(kind, "early", until=11.0)]
        return list(await asyncio.gather(*both, return_exceptions=True))

    late, early = asyncio.run(asked())
    assert (late.status, late.error) == (504, "deadline")
    assert early == "early!"
    assert echo.passes == [["early"]]


def test_while_the_thread_searches_others_are_answered_and_the_next_wait_together() -> None:
    echo, begun, go_on = Echo(), threading.Event(), threading.Event()

    def slow(questions: Sequence[str]) -> list[str]:
        begun.set()
        assert go_on.wait(20)
        return echo(questions)

    async def both() -> tuple[list[str], list[str]]:
        turns = Turns(256)
        kind = Kind("slow", slow, apart=True)
        first = asyncio.create_task(all_of(turns, kind, ["a"]))
        await asyncio.to_thread(begun.wait, 20)
        then = asyncio.create_task(all_of(turns, kind, ["b", "c", "d"]))
        quick = await all_of(turns, Kind("quick", Echo()), ["q"])
        assert (quick, turns.waiting) == (["q!"], 3)
        go_on.set()
        answers = await first, await then
        turns.close()
        return answers

    assert asyncio.run(both()) == (["a!"], ["b!", "c!", "d!"])
    assert echo.passes == [["a"], ["b", "c", "d"]]
    assert len(echo.threads) == 1
    assert threading.get_ident() not in echo.threads


def test_a_deadline_is_kept_while_the_thread_is_busy() -> None:
    echo, go_on = Echo(), threading.Event()

    def slow(questions: Sequence[str]) -> list[str]:
        assert go_on.wait(20)
        return echo(questions)

    async def both() -> None:
        turns, kind = Turns(256), Kind("slow", slow, apart=True)
        first = asyncio.create_task(turns.ask(kind, "a", until=FOR_EVER))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="deadline"):
            await turns.ask(kind, "b", until=0.0)
        go_on.set()
        assert await first == "a!"
        turns.close()

    asyncio.run(both())
    assert echo.passes == [["a"]]


def test_one_alone_may_be_answered_in_the_loop_and_several_are_not() -> None:
    echo = Echo()

    async def first_one_then_two() -> None:
        turns, kind = Turns(256), Kind("search", echo, apart=True, alone_here=True)
        await all_of(turns, kind, ["a"])
        assert echo.threads == {threading.get_ident()}
        await all_of(turns, kind, ["b", "c"])
        turns.close()

    asyncio.run(first_one_then_two())
    assert len(echo.threads) == 2


def test_one_known_to_be_alone_is_answered_on_the_spot_unless_others_wait_or_it_is_too_late() -> (
    None
):
    echo = Echo()

    async def asked() -> None:
        turns, kind = Turns(256), Kind("one", echo)
        step = turns.ask(kind, "a", until=FOR_EVER, alone=True)
        with pytest.raises(StopIteration) as done:
            step.send(None)  # it never waits
        assert done.value.value == "a!"
        waits = asyncio.create_task(turns.ask(kind, "b", until=FOR_EVER))
        await asyncio.sleep(0)
        assert await turns.ask(kind, "c", until=FOR_EVER, alone=True) == "c!"
        assert await waits == "b!"
        with pytest.raises(RefusedError, match="deadline"):
            await turns.ask(kind, "d", until=0.0, alone=True)
        far = Kind("far", echo, apart=True)
        assert await turns.ask(far, "e", until=FOR_EVER, alone=True) == "e!"
        turns.close()

    asyncio.run(asked())
    assert echo.passes == [["a"], ["b", "c"], ["e"]]
    assert threading.get_ident() in echo.threads
    assert len(echo.threads) == 2


def test_who_would_wait_too_long_by_the_pace_so_far_is_refused_at_once() -> None:
    now = 0.0

    def slow(questions: Sequence[str]) -> list[str]:
        nonlocal now
        now += 10.0 * len(questions)
        return list(questions)

    async def asked() -> list[Any]:
        turns, kind = Turns(256, clock=lambda: now), Kind("slow", slow, most=1)
        assert await turns.ask(kind, "a", until=1.0) == "a"  # 2 seconds each, from now on
        many = [turns.ask(kind, each, until=now + 5.0) for each in "bcde"]
        return list(await asyncio.gather(*many, return_exceptions=True))

    *_, fourth, fifth = asyncio.run(asked())
    for one in (fourth, fifth):
        assert (one.status, one.error) == (503, "overloaded")


def test_what_goes_wrong_is_told_to_all_it_concerns_and_the_next_are_answered() -> None:
    def wrong(_: Sequence[str]) -> list[str]:
        raise ZeroDivisionError

    async def asked() -> list[Any]:
        turns = Turns(256)
        bad = [turns.ask(Kind("bad", wrong), each, until=FOR_EVER) for each in "ab"]
        good = turns.ask(Kind("good", Echo()), "c", until=FOR_EVER)
        return list(await asyncio.gather(*bad, good, return_exceptions=True))

    first, second, third = asyncio.run(asked())
    assert isinstance(first, ZeroDivisionError)
    assert isinstance(second, ZeroDivisionError)
    assert third == "c!"
