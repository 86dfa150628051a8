"""A run divided among launches: every chunk is in one share, and the shares are even."""

import random

import pytest

from ssdd_bench.launch.shares import Share


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_every_chunk_is_in_one_share(count: int) -> None:
    rng = random.Random(count)
    costs = {
        (group, job): [rng.uniform(0.5, 2) for _ in range(rng.randrange(5))]
        for group in range(4)
        for job in range(3)
    }
    shares = [Share(index, count).of(costs) for index in range(count)]
    found = [(task, chunk) for share in shares for task, ours in share.items() for chunk in ours]
    assert found == [(task, chunk) for task, row in costs.items() for chunk in range(len(row))]
    total = sum(map(sum, costs.values()))
    for share in shares:
        ours = sum(costs[task][chunk] for task, chunks in share.items() for chunk in chunks)
        assert ours <= total / count + 2


def test_large_images_weigh_more() -> None:
    assert Share(0, 2).of({(0, 0): [4.0], (0, 1): [1.0, 1.0, 1.0, 1.0]}) == {(0, 0): range(1)}


def test_nothing_to_do() -> None:
    assert Share(0, 2).of({}) == {}
