"""Solvers and guidance against closed forms."""

from dataclasses import replace

import pytest
import torch
from gaussian_flow import MEAN, STD, gaussian_velocity

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import OptionError
from ssdd_bench.generation import sampler
from ssdd_bench.generation.sampler import SamplerSettings, sample_latents
from ssdd_bench.nn.dit import DiT, DiTConfig

CONFIG = DiTConfig(depth=2, width=64, heads=2, patch=1, side=4, channels=4, classes=3)


class Oracle:
    """The exact velocity as a network, whose clock runs from noise at 0 to data at 1."""

    def __call__(self, x, clock, labels):
        return gaussian_velocity(x, 1 - clock)


@pytest.mark.medium
@pytest.mark.parametrize("method", ["euler", "heun"])
def test_sampled_latents_follow_the_exact_flow(method):
    ids = ["a", "b"]
    labels = torch.zeros(2, dtype=torch.int64)
    settings = SamplerSettings(method, steps=400)
    found = sample_latents(Oracle(), CONFIG, labels, KeyedNoise(0, ids, "sample"), settings)
    noise = KeyedNoise(0, ids, "sample").normal((4, 4, 4))
    tolerance = 2e-2 if method == "euler" else 1e-4
    torch.testing.assert_close(found, MEAN + STD * noise, atol=tolerance, rtol=0)
    # A clock that runs the other way, a common mistake, is far off.
    backwards = sample_latents(
        lambda x, clock, labels: gaussian_velocity(x, clock),
        CONFIG,
        labels,
        KeyedNoise(0, ids, "sample"),
        settings,
    )
    assert (backwards - MEAN - STD * noise).abs().max() > 0.3


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_solvers_read_no_time_from_the_device(method, monkeypatch):
    """A device would be waited for; times are nevertheless those that the solver passes on."""
    seen = []

    def network(x, clock, labels):
        seen.append((1 - clock).tolist())
        return torch.zeros_like(x)

    expected = []
    solver = getattr(sampler, method)

    def noted(velocity, x, times):
        def velocity_at(x, t):
            expected.append(t.tolist())
            with monkeypatch.context() as patch:
                patch.setattr(torch.Tensor, "__float__", None)
                patch.setattr(torch.Tensor, "item", None)
                return velocity(x, t)

        return solver(velocity_at, x, times)

    monkeypatch.setattr(sampler, method, noted)
    labels = torch.zeros(2, dtype=torch.int64)
    settings = SamplerSettings(method, steps=7, cfg=1.5, interval=(0.2, 0.6))
    noise = KeyedNoise(0, ["a", "b"], "sample")

    def one_of_both(x, clock, labels):
        return network(x[:2], clock[:2], labels).repeat(len(x) // 2, 1, 1, 1)

    sample_latents(one_of_both, CONFIG, labels, noise, settings)
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(expected), rtol=0, atol=1e-7)
    assert len(seen) == (7 if method == "euler" else 14)


class Counting(torch.nn.Module):
    """A network that counts the samples it sees."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.seen = 0

    def forward(self, x, times, labels):
        self.seen += len(x)
        return self.network(x, times, labels)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = DiT(CONFIG).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return made


def sample(network, labels, ids=None, **settings):
    ids = ids or [str(i) for i in range(len(labels))]
    noise = KeyedNoise(0, ids, "sample")
    return sample_latents(
        network, CONFIG, torch.tensor(labels), noise, SamplerSettings(**{"steps": 4} | settings)
    )


def test_guidance_of_scale_1_is_none_and_scale_0_forgets_the_class(network):
    labels = [0, 1, 2]
    plain = sample(network, labels)
    assert torch.equal(sample(network, labels, cfg=1.0), plain)
    torch.testing.assert_close(sample(network, labels, cfg=1 + 1e-7), plain, atol=1e-5, rtol=1e-5)
    free = sample(network, [CONFIG.classes] * 3)
    torch.testing.assert_close(sample(network, labels, cfg=0.0), free, atol=1e-5, rtol=1e-5)
    assert (sample(network, labels, cfg=4.0) - plain).abs().max() > 1e-2


def test_guidance_only_where_and_when_it_is_asked_for(network):
    labels = [0, 1]
    plain, guided = sample(network, labels, steps=1), sample(network, labels, steps=1, cfg=3.0)
    three = sample(network, labels, steps=1, cfg=3.0, cfg_channels=3)
    torch.testing.assert_close(three[:, :3], guided[:, :3])
    torch.testing.assert_close(three[:, 3:], plain[:, 3:])
    # Four steps lie at times 1, 0.75, 0.5 and 0.25.
    never = sample(network, labels, cfg=3.0, interval=(0.0, 0.2))
    assert torch.equal(never, sample(network, labels))


@pytest.mark.parametrize("method", ["euler", "heun"])
@pytest.mark.parametrize(("cfg", "interval"), [(1.0, (0, 1)), (2.0, (0, 1)), (2.0, (0, 0.6))])
def test_evaluations_are_counted_as_they_happen(network, method, cfg, interval):
    counting = Counting(network)
    settings = SamplerSettings(method, 5, cfg, interval)
    sample_latents(
        counting, CONFIG, torch.tensor([0, 1]), KeyedNoise(0, ["a", "b"], "sample"), settings
    )
    assert counting.seen == 2 * settings.evaluations()


def test_a_sample_does_not_depend_on_its_batch(network):
    labels = [0, 1, 2, 1]
    together = sample(network, labels, cfg=1.5)
    each = [sample(network, [label], [str(i)], cfg=1.5) for i, label in enumerate(labels)]
    alone = torch.cat(each)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def test_settings_that_make_no_sense_are_one_line():
    def refused(objective="flow", **settings):
        with pytest.raises(OptionError) as caught:
            SamplerSettings(**settings).check(objective)
        return str(caught.value)

    assert "euler or heun" in refused(method="ddpm")
    assert "ddpm" in refused("ddpm", method="euler")
    assert "give 1 to 1000" in refused("ddpm", method="ddpm", steps=1001)
    assert "two times within 0 and 1" in refused(interval=(0.5, 0.5))
    assert "guidance scale" in refused(cfg=-1.0)


@pytest.mark.parametrize(("method", "cfg"), [("ddpm", 1.5), ("ddpm", 1.0), ("euler", 1.5)])
def test_networks_that_predict_a_variance_too(method, cfg):
    """DiT's second half of the output is a variance; SiT has it and leaves it unused."""
    config = replace(CONFIG, doubled=True)
    torch.manual_seed(1)
    network = DiT(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    noise = KeyedNoise(0, ["a", "b"], "sample")
    settings = SamplerSettings(method, 3, cfg, cfg_channels=3)
    found = sample_latents(network, config, torch.tensor([0, 1]), noise, settings)
    assert found.shape == (2, 4, 4, 4)
    assert torch.isfinite(found).all()
