"""Random numbers of a batch do not depend on its cut into shards."""

import pytest
import torch

from ssdd_bench.flow.schedule import logit_normal_times
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.stages.base import RandomRows

CPU = torch.device("cpu")
SHAPE = (3, 4, 5)
LIKE = torch.empty(1, *SHAPE)


class FromItsFirstImage(RandomRows):
    """A generator for each shard: a known mistake."""

    def __init__(self, seed, key, shard, device):
        alone = Shard(0, 0, shard.size, shard.size)
        super().__init__(seed, key + shard.start, alone, device)


def sampled(kind, shard):
    """All that stages sample for the rows of a shard, in one order."""
    random = kind(7, shard.iteration * shard.batch_size, shard, CPU)
    return random.normal(LIKE), random.times(1.0, 0.5), random.uniform(), random.integers(1000)


def cut(kind, shards):
    """The numbers of a batch of six that is cut into so many shards."""
    size = 6 // shards
    parts = [sampled(kind, Shard(3, start, size, 6)) for start in range(0, 6, size)]
    return [torch.cat(values) for values in zip(*parts, strict=True)]


def test_an_uncut_batch_has_the_numbers_of_a_plain_generator():
    generator = torch.Generator().manual_seed(7 * 1_000_003 + 18)
    expected = (
        torch.randn((6, *SHAPE), generator=generator),
        logit_normal_times(6, generator, 1.0, 0.5),
        torch.rand(6, generator=generator),
        torch.randint(1000, (6,), generator=generator),
    )
    for found, value in zip(cut(RandomRows, 1), expected, strict=True):
        assert torch.equal(found, value)


@pytest.mark.parametrize("shards", [2, 3, 6])
def test_a_batch_has_the_same_numbers_however_it_is_cut(shards):
    whole = cut(RandomRows, 1)
    assert all(map(torch.equal, cut(RandomRows, shards), whole))
    assert not any(map(torch.equal, cut(FromItsFirstImage, shards), whole))


def test_a_part_does_not_keep_the_batch_in_memory():
    part = RandomRows(7, 0, Shard(0, 2, 2, 6), CPU).normal(LIKE)
    assert part.untyped_storage().nbytes() == part.numel() * part.element_size()
