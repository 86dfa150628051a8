"""Noise from generators and from the fixed seed."""

import pytest
import torch

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.diffusers.noise import decoder_noise, fixed_noise

CPU = torch.device("cpu")


def seeded(*seeds):
    made = [torch.Generator().manual_seed(seed) for seed in seeds]
    return made if len(made) > 1 else made[0]


def test_without_a_generator_every_image_has_the_field_of_the_seed():
    noise = decoder_noise(2, (16, 24), CPU, 3, None)
    assert torch.equal(noise[0], noise[1])
    assert torch.equal(noise[:1], KeyedNoise(3, ["0"], "decode").normal((3, 16, 24)))
    assert not torch.equal(noise, decoder_noise(2, (16, 24), CPU, 4, None))


def test_a_generator_is_continued_image_by_image():
    both = decoder_noise(2, (8, 8), CPU, 0, seeded(5))
    one = seeded(5)
    apart = [decoder_noise(1, (8, 8), CPU, 0, one) for _ in range(2)]
    assert torch.equal(both, torch.cat(apart))
    assert not torch.equal(both[0], both[1])


def test_a_generator_for_each_image():
    noise = decoder_noise(2, (8, 8), CPU, 0, seeded(5, 6))
    assert torch.equal(noise[1:], decoder_noise(1, (8, 8), CPU, 0, seeded(6)))
    with pytest.raises(ValueError, match="2 generators for 3 images"):
        decoder_noise(3, (8, 8), CPU, 0, seeded(5, 6))


@pytest.mark.medium
def test_the_operator_is_correct_for_a_compiler():
    torch.library.opcheck(fixed_noise, (0, 8, 16, CPU))
