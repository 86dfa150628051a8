"""Items of what can only be read from its start."""

import threading

import numpy as np
import pytest

from ssdd_bench.data import pieces as module
from ssdd_bench.data.pieces import Pieces
from ssdd_bench.errors import DataError, SourceError


class Reader:
    """Numbers in pieces of 1, 2, 3 and so on, with a log of what is read."""

    def __init__(self, count: int = 100, error: Exception | None = None) -> None:
        self.count = count
        self.error = error
        self.passes = 0
        self.read = 0

    def __call__(self):
        self.passes += 1
        start, size = 0, 1
        while start < self.count:
            piece = np.arange(start, min(start + size, self.count), dtype=np.uint16)
            self.read += len(piece)
            yield piece
            start, size = start + size, size + 1
        if self.error:
            raise self.error


@pytest.fixture(autouse=True)
def keep_nine_items(monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", 18)


def test_ascending_numbers_cost_one_pass():
    reader = Reader()
    pieces = Pieces(reader)
    assert [pieces[i] for i in range(100)] == list(range(100))
    assert (reader.passes, reader.read) == (1, 100)


def test_a_little_disorder_costs_nothing_and_a_step_back_another_pass():
    reader = Reader()
    pieces = Pieces(reader)
    assert [pieces[i] for i in (3, 0, 5, 2, 9)] == [3, 0, 5, 2, 9]
    assert reader.passes == 1
    assert pieces[0] == 0
    assert reader.passes == 2
    assert pieces[99] == 99


def test_kept_pieces_have_so_many_bytes_but_are_two_at_least():
    pieces = Pieces(Reader())
    for number, kept in ((9, [2, 3, 4]), (10, [4, 5]), (54, [9, 10]), (9, [2, 3, 4])):
        assert pieces[number] == number
        assert [len(piece) for _, piece in pieces._kept] == kept


def test_what_lies_ahead_is_not_read():
    reader = Reader()
    assert Pieces(reader)[4] == 4
    assert reader.read == 6


@pytest.mark.parametrize("error", [None, DataError("damaged")])
def test_items_before_the_damage_are_there_and_those_behind_cost_nothing_more(error):
    reader = Reader(10, error)
    pieces = Pieces(reader)
    assert pieces[9] == 9
    for number in (10, 11, 500):
        with pytest.raises(DataError, match="damaged" if error else "ends after 10"):
            pieces[number]
    assert reader.passes == 1
    assert pieces[2] == 2


def test_a_disk_that_fails_is_tried_again():
    reader = Reader(10, SourceError("no connection"))
    pieces = Pieces(reader)
    for _ in range(2):
        with pytest.raises(SourceError):
            pieces[10]
    reader.error, reader.count = None, 11
    assert pieces[10] == 10
    assert reader.passes == 3


def test_threads_share_them():
    reader = Reader(2000)
    pieces = Pieces(reader)
    wrong = []

    def read(first: int) -> None:
        wrong.extend(i for i in range(first, 2000, 4) if pieces[i] != i)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
