"""Noise keyed by seed and image."""

import pytest
import torch

from ssdd_bench.api.noise import BatchNoise, KeyedNoise, OrderedNoise


def test_noise_of_an_image_needs_no_other_image():
    together = KeyedNoise(0, ["a", "b", "c"], "decode").normal((2, 3))
    alone = KeyedNoise(0, ["c"], "decode").normal((2, 3))
    assert torch.equal(together[2], alone[0])
    assert not torch.equal(together[0], together[1])
    other_stream = KeyedNoise(0, ["c"], "encode").normal((2, 3))
    assert not torch.equal(other_stream, alone)


def test_noise_is_standard_normal_and_goes_on():
    noise = KeyedNoise(3, [str(n) for n in range(64)], "decode")
    first, second = noise.normal((64, 64)), noise.normal((64, 64))
    assert first.mean().item() == pytest.approx(0, abs=0.01)
    assert first.std().item() == pytest.approx(1, abs=0.01)
    assert torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].abs() < 0.01


IDS = tuple("abcde")
KINDS = {
    "keyed": lambda: KeyedNoise(7, IDS, "decode"),
    "ordered": lambda: OrderedNoise(7, len(IDS), after=OrderedNoise(7, 3), ids=IDS),
}
SHAPES = ((3, 5, 7), (2,), (3, 5, 7))


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    "foreseen",
    [(), SHAPES[:1], SHAPES, (*SHAPES, (9,)), ((3, 4, 4), *SHAPES), (SHAPES[0], (3,), SHAPES[2])],
)
def test_noise_sampled_ahead_is_the_same(make, foreseen):
    """Whatever shapes were foreseen, in parts, and after a part that had to be tried again."""
    wanted = make()
    expected = [wanted.normal(shape) for shape in SHAPES]
    batch = BatchNoise(make, foreseen)
    failed = batch.part(slice(0, 5))
    failed.normal(SHAPES[0]).zero_()  # what a plugin does to its noise is its own affair
    for start, stop in ((0, 2), (2, 5)):
        part = batch.part(slice(start, stop))
        assert part.ids == IDS[start:stop]
        for shape, whole in zip(SHAPES, expected, strict=True):
            assert torch.equal(part.normal(shape), whole[start:stop])
    assert batch.shapes == SHAPES
    # The set's noise goes on where this batch ended.
    assert torch.equal(batch.source.normal((4,)), wanted.normal((4,)))


def test_a_foreseen_shape_costs_no_second_sampling():
    made = []

    def make():
        made.append(KeyedNoise(7, IDS, "decode"))
        return made[-1]

    batch = BatchNoise(make, SHAPES)
    batch.part(slice(0, 5)).normal(SHAPES[0])
    part = batch.part(slice(0, 5))
    for shape in SHAPES:
        part.normal(shape)
    assert len(made) == 1
    assert batch.source is made[0]


def test_ordered_noise_goes_on_after_a_batch():
    whole = OrderedNoise(0, 5).normal((3,))
    first = BatchNoise(lambda: OrderedNoise(0, 2), [(3,), (8,)])
    head = first.part(slice(0, 2)).normal((3,))
    second = BatchNoise(lambda: OrderedNoise(0, 3, after=first.source))
    assert torch.equal(torch.cat([head, second.part(slice(0, 3)).normal((3,))]), whole)
