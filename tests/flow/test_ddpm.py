"""The chain of noise levels against closed forms and diffusers."""

import pytest
import torch
from diffusers import DDPMScheduler

from ssdd_bench.flow.ddpm import SIGNAL, add_noise, ancestral, spaced_timesteps

MEAN, STD = 1.5, 0.4


def exact_noise(x, level):
    signal = float(SIGNAL[level])
    variance = signal * STD**2 + 1 - signal
    return (1 - signal) ** 0.5 * (x - signal**0.5 * MEAN) / variance


@pytest.mark.medium
@pytest.mark.parametrize("steps", [250, 1000])
def test_ancestral_sampling_of_a_gaussian(steps):
    generator = torch.Generator().manual_seed(0)

    def draw():
        return torch.randn(4000, 1, dtype=torch.float64, generator=generator)

    x = ancestral(exact_noise, draw(), draw, steps)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert x.std().item() == pytest.approx(STD, rel=0.08)


@pytest.mark.parametrize("learned", [False, True])
def test_ancestral_steps_equal_diffusers(learned):
    scheduler = DDPMScheduler(
        beta_schedule="linear",
        variance_type="learned_range" if learned else "fixed_small",
        clip_sample=False,
    )
    levels = spaced_timesteps(5)
    scheduler.set_timesteps(timesteps=levels)

    def predict(x, level):
        noise = torch.tanh(x + level / 1000)
        return torch.cat([noise, torch.sin(3 * x)], dim=1) if learned else noise

    ours, theirs = (torch.Generator().manual_seed(5) for _ in range(2))
    start = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    expected = start
    for level in levels:
        output = predict(expected, level)
        expected = scheduler.step(output, level, expected, generator=theirs).prev_sample
    found = ancestral(predict, start, lambda: torch.randn(start.shape, generator=ours), 5)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


def test_noise_is_added_as_the_levels_say():
    data, noise = torch.full((2, 1), 3.0), torch.full((2, 1), -1.0)
    found = add_noise(data, noise, torch.tensor([0, 999]))
    assert found[0, 0].item() == pytest.approx(3 * 0.9999**0.5 - 0.01, abs=1e-5)
    assert found[1, 0].item() == pytest.approx(-1.0, abs=0.03)
    assert spaced_timesteps(4) == [999, 666, 333, 0]
