from __future__ import annotations

import signal
from threading import Thread

import pytest

from recsys.domain.stop import StopFlag


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_the_flag_and_the_handlers_of_before_come_back(
    number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)
    with StopFlag().listening() as stop:
        assert (stop.raised, stop.exit_code) == (False, 0)
        signal.raise_signal(number)
        assert (stop.raised, stop.exit_code) == (True, code)
    assert signal.getsignal(number) is before


def test_a_second_signal_in_a_notebook_ends_the_call_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopFlag(kills=False).listening():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_hears_no_signals_and_changes_no_handler() -> None:
    before, heard = signal.getsignal(signal.SIGINT), list[object]()

    def listen() -> None:
        with StopFlag().listening() as stop:
            heard.extend([stop.raised, signal.getsignal(signal.SIGINT)])

    thread = Thread(target=listen)
    thread.start()
    thread.join()
    assert heard == [False, before]
