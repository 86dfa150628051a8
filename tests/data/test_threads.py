"""Results come in order, from few threads, and no thread outlives its use."""

import threading
import time

import pytest

from ssdd_bench.data.threads import executor, map_ahead


@pytest.mark.parametrize("threads", [0, 1, 5])
def test_results_come_in_order(threads):
    def slow_first(item):
        time.sleep(0.01 if item % 3 == 0 else 0)
        return item * item

    assert list(map_ahead(slow_first, range(20), threads)) == [i * i for i in range(20)]


@pytest.mark.parametrize("threads", [0, 2])
def test_look_ahead_is_bounded_and_nothing_is_left_behind(threads):
    seen = []
    results = map_ahead(seen.append, range(100), threads, name="ahead")
    next(results)
    time.sleep(0.05)
    assert len(seen) <= max(1, 4 * threads)
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_in_its_turn(threads):
    seen = []
    with pytest.raises(ZeroDivisionError):
        seen.extend(map_ahead(lambda item: 1 / (item - 3), range(9), threads))
    assert seen == [-1 / 3, -1 / 2, -1]


def test_in_line_or_not_a_call_gets_all_arguments():
    for threads in (0, 1):
        with executor(threads, "call") as pool:
            assert pool.submit(pow, 2, 5, mod=7).result() == 4


def test_a_pool_drops_what_it_has_not_begun():
    started = []

    def work(number):
        started.append(number)
        time.sleep(0.05)

    with executor(1, "drop") as pool:
        for number in range(50):
            pool.submit(work, number)
    assert len(started) <= 2
