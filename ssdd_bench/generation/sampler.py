"""Sample latents from a network: a flow's ODE or DDPM's timesteps, with or without guidance.

Latents here have mean 0 and standard deviation 1, as the network sees them. Times are 1 for noise
and 0 for data, for both kinds of network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor

from ssdd_bench.api import Noise
from ssdd_bench.errors import OptionError
from ssdd_bench.flow.ddpm import TIMESTEPS, ancestral, spaced_timesteps
from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.flow.solver import euler, heun
from ssdd_bench.nn.dit import DiTConfig

Objective = Literal["flow", "ddpm"]
Method = Literal["euler", "heun", "ddpm"]
OBJECTIVE_OF: Final[dict[Method, Objective]] = {"euler": "flow", "heun": "flow", "ddpm": "ddpm"}

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps latents, its own clock (B,) and labels (B,) to a velocity or noise."""

ROUNDING = 1e-6  # of times, which reach a network in float32


@dataclass(frozen=True)
class SamplerSettings:
    """Settings of the sampler.

    Guidance of scale 1 is none and costs one evaluation a step instead of two. Papers that build
    on DiT's code guide three channels.
    """

    method: Method = "euler"  # euler and heun solve the ODE of a flow; ddpm is ancestral
    steps: int = 50  # intervals of the ODE, or timesteps visited
    cfg: float = 1.0  # scale of classifier-free guidance
    interval: tuple[float, float] = (0.0, 1.0)  # times between which guidance is on
    cfg_channels: int | None = None  # number of the latent's channels that are guided; None: all

    def check(self, objective: Objective) -> None:
        """Raise ``OptionError`` if a value is out of range or does not fit such a network."""
        if OBJECTIVE_OF[self.method] != objective:
            fitting = [name for name, kind in OBJECTIVE_OF.items() if kind == objective]
            raise OptionError(
                f"sampler '{self.method}' does not fit a network trained as '{objective}': use "
                + " or ".join(fitting)
            )
        most = TIMESTEPS if self.method == "ddpm" else 100_000
        if not 1 <= self.steps <= most:
            raise OptionError(f"steps is {self.steps}: give 1 to {most}")
        low, high = self.interval
        if not 0 <= low < high <= 1:
            raise OptionError(f"guidance interval {low} to {high}: give two times within 0 and 1")
        if self.cfg < 0:
            raise OptionError(f"guidance scale {self.cfg}: give 1 for none, or more")
        if self.cfg_channels is not None and self.cfg_channels < 1:
            raise OptionError(f"{self.cfg_channels} guided channels: give 1 or more")

    def times(self) -> list[float]:
        """List the times at which the network is evaluated."""
        if self.method == "ddpm":
            return [timestep / (TIMESTEPS - 1) for timestep in spaced_timesteps(self.steps)]
        times = power_schedule(self.steps, power=1.0)
        if self.method == "euler":
            return times[:-1]
        return [time for pair in pairwise(times) for time in pair]

    def evaluations(self) -> int:
        """Count network evaluations per sample, with the unconditional ones of guidance."""
        return sum(2 if self.is_guided(time) else 1 for time in self.times())

    def is_guided(self, time: float) -> bool:
        """Return True if guidance is on at this time."""
        low, high = self.interval
        return self.cfg != 1 and low - ROUNDING <= time <= high + ROUNDING


def default_method(objective: Objective) -> Method:
    """Return the usual sampler of a network."""
    return "ddpm" if objective == "ddpm" else "euler"


@torch.inference_mode()
def sample_latents(
    network: Network,
    config: DiTConfig,
    labels: Tensor,
    noise: Noise,
    settings: SamplerSettings,
) -> Tensor:
    """Sample one latent per label.

    Args:
        network: called as :class:`ssdd_bench.nn.dit.DiT`, on the labels' device.
        config: its shape.
        labels: int64 (B,), below ``config.classes``.
        noise: one stream per sample: the start comes first, then the noise of each step.
        settings: checked before, see :meth:`SamplerSettings.check`.

    Returns:
        float32 (B, channels, side, side).
    """
    shape = (config.channels, config.side, config.side)
    predict = guided(network, config, labels, settings)
    start = noise.normal(shape, device=labels.device)
    if settings.method == "ddpm":

        def at_timestep(x: Tensor, timestep: int) -> Tensor:
            return predict(x, timestep / (TIMESTEPS - 1), float(timestep))

        def sample_noise() -> Tensor:
            return noise.normal(shape, device=labels.device)

        return ancestral(at_timestep, start, sample_noise, settings.steps)

    # The times that the solver passes on, in its order: reading them would wait for a GPU.
    times = iter(torch.tensor(settings.times(), dtype=torch.float32).tolist())

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        time = next(times)
        return predict(x, time, 1 - time)[:, : config.channels]  # SiT's clock runs to the data

    solve = heun if settings.method == "heun" else euler
    return solve(velocity, start, power_schedule(settings.steps, power=1.0))


def guided(
    network: Network, config: DiTConfig, labels: Tensor, settings: SamplerSettings
) -> Callable[[Tensor, float, float], Tensor]:
    """Return the network as a function of (x, time, the network's own time), with guidance.

    Guidance (arXiv 2207.12598): none + scale * (class - none), on the guided channels of the
    velocity or the noise. A predicted variance is the conditional one.
    """
    nothing = torch.full_like(labels, config.classes)
    count = min(settings.cfg_channels or config.channels, config.channels)

    def predict(x: Tensor, time: float, clock: float) -> Tensor:
        clocks = x.new_full((len(x),), clock)
        if not settings.is_guided(time):
            return network(x, clocks, labels)
        both = network(torch.cat([x, x]), clocks.repeat(2), torch.cat([labels, nothing]))
        given, free = both.chunk(2)
        led = free[:, :count] + settings.cfg * (given[:, :count] - free[:, :count])
        return torch.cat([led, given[:, count:]], dim=1)

    return predict
