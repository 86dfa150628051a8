"""Draw latents from a network: a flow's ODE or a chain of noise levels, guided or not.

Everything here is in the network's space, where latents have mean 0 and standard deviation 1.
Times are ours: 1 is noise and 0 is data, for both kinds of network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn

from ssdd_bench.api import Noise
from ssdd_bench.errors import OptionError
from ssdd_bench.flow.ddpm import TIMESTEPS, ancestral, spaced_timesteps
from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.flow.solver import euler, heun
from ssdd_bench.nn.dit import DiTConfig

Objective = Literal["flow", "ddpm"]
Method = Literal["euler", "heun", "ddpm"]
OBJECTIVE_OF: Final[dict[Method, Objective]] = {"euler": "flow", "heun": "flow", "ddpm": "ddpm"}

ROUNDING = 1e-6  # of times, which reach a network in float32


@dataclass(frozen=True)
class SamplerSettings:
    """How samples are drawn.

    Attributes:
        method: ``euler`` and ``heun`` solve the ODE of a flow; ``ddpm`` walks the chain.
        steps: intervals of the ODE, or levels visited.
        cfg: scale of classifier-free guidance; 1 leaves it off and costs one evaluation a step
            instead of two.
        interval: times between which it is on, with 1 for noise and 0 for data.
        cfg_channels: how many of the latent's channels are guided; None for all. Papers that
            build on DiT's code guide three.
    """

    method: Method = "euler"
    steps: int = 50
    cfg: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    cfg_channels: int | None = None

    def check(self, objective: Objective) -> None:
        """Refuse what makes no sense for a network of this kind.

        Raises:
            OptionError: one line that says what to give instead.
        """
        if OBJECTIVE_OF[self.method] != objective:
            fitting = [name for name, kind in OBJECTIVE_OF.items() if kind == objective]
            raise OptionError(
                f"sampler '{self.method}' does not fit a network trained as '{objective}': take "
                + " or ".join(fitting)
            )
        most = TIMESTEPS if self.method == "ddpm" else 100_000
        if not 1 <= self.steps <= most:
            raise OptionError(f"{self.steps} steps: give 1 to {most}")
        low, high = self.interval
        if not 0 <= low < high <= 1:
            raise OptionError(f"guidance interval {low} to {high}: give two times within 0 and 1")
        if self.cfg < 0:
            raise OptionError(f"guidance scale {self.cfg}: give 1 for none, or more")
        if self.cfg_channels is not None and self.cfg_channels < 1:
            raise OptionError(f"{self.cfg_channels} guided channels: give 1 or more")

    def times(self) -> list[float]:
        """Every time at which the network is evaluated."""
        if self.method == "ddpm":
            return [level / (TIMESTEPS - 1) for level in spaced_timesteps(self.steps)]
        grid = power_schedule(self.steps, power=1.0)
        if self.method == "euler":
            return grid[:-1]
        return [time for pair in pairwise(grid) for time in pair]

    def evaluations(self) -> int:
        """Network evaluations per sample, the unconditional ones of guidance included."""
        return sum(2 if self.is_guided(time) else 1 for time in self.times())

    def is_guided(self, time: float) -> bool:
        """Whether guidance changes anything at this time."""
        low, high = self.interval
        return self.cfg != 1 and low - ROUNDING <= time <= high + ROUNDING


@torch.inference_mode()
def draw_latents(
    network: nn.Module,
    config: DiTConfig,
    labels: Tensor,
    noise: Noise,
    settings: SamplerSettings,
) -> Tensor:
    """Draw one latent per label.

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

        def at_level(x: Tensor, level: int) -> Tensor:
            return predict(x, level / (TIMESTEPS - 1), float(level))

        def draw() -> Tensor:
            return noise.normal(shape, device=labels.device)

        return ancestral(at_level, start, draw, settings.steps)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        time = float(t[0])
        return predict(x, time, 1 - time)[:, : config.channels]  # SiT's clock runs to the data

    solve = heun if settings.method == "heun" else euler
    return solve(velocity, start, power_schedule(settings.steps, power=1.0))


def guided(
    network: nn.Module, config: DiTConfig, labels: Tensor, settings: SamplerSettings
) -> Callable[[Tensor, float, float], Tensor]:
    """The network as a function of (x, our time, the network's own time), with guidance in it.

    Guidance (arXiv 2207.12598): none + scale * (class - none), on the guided channels of the
    velocity or the noise. A variance is the conditional one.
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
