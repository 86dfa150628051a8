"""SIGTERM as an interrupt."""

import os
import signal
import threading

import pytest

from ssdd_bench.launch.signals import Terminated, termination_interrupts


def test_sigterm_interrupts_inside_only() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), termination_interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_are_left_alone() -> None:
    def enter() -> None:
        with termination_interrupts():
            done.append(signal.getsignal(signal.SIGTERM))

    done: list[object] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGTERM)]
