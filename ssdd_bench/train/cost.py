"""Cost of a stage before it is run: parameters, operations, memory, and hours of some GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ssdd_bench.train.known import known_operations
from ssdd_bench.train.recipe import Recipe

OPTIMISER_COPIES: Final = 2  # second moment and schedule-free iterate, beside the weights
BYTES: Final = 4
UTILISATION: Final = 0.35
"""Share of a GPU's peak that is assumed; it has not been measured."""


@dataclass(frozen=True)
class Cost:
    """Cost of one stage, without the frozen networks of the losses and without discriminators."""

    stage: str
    iterations: int
    images: int  # seen in all
    resolution: int
    batch_size: int
    parameters: int  # number of trained ones
    gmac_per_image: float  # of one forward and backward pass, those of a teacher included
    activation_bytes: int  # kept on a GPU for the backward pass, per image, without compilation
    state_bytes: int  # weights, gradients, optimiser and average

    @property
    def flops(self) -> float:
        """Return the floating-point operations of the whole stage: two for a GMAC's each."""
        return 2e9 * self.gmac_per_image * self.images


@dataclass(frozen=True)
class GPU:
    """A GPU by its data sheet: dense peaks in TFLOP/s."""

    name: str
    bf16: float  # of the tensor cores, with accumulation in float32, without sparsity
    fp32: float  # without tensor cores

    def hours(self, cost: Cost, bf16: bool) -> float:
        """Return the hours of a stage on one such GPU at :data:`UTILISATION`."""
        peak = self.bf16 if bf16 else self.fp32
        return cost.flops / (peak * 1e12 * UTILISATION) / 3600


# Data sheets of A100, H100 and H200 (SXM), and the white paper of the Ada architecture.
GPUS: Final = (
    GPU("RTX 4090", 165.2, 82.6),
    GPU("A100 SXM", 312.0, 19.5),
    GPU("H100 SXM", 989.4, 66.9),
    GPU("H200 SXM", 989.4, 66.9),
)


def stage_cost(stage: str, recipe: Recipe) -> Cost:
    """Compute the cost; networks that no shipped recipe has are counted by torch, in seconds."""
    found = known_operations(stage, recipe)
    if found is None:
        from ssdd_bench.train.operations import count_operations

        found = count_operations(stage, recipe)
    table = recipe.stage(stage)
    teacher = recipe.distil.teacher_steps if stage == "distil" else 0
    return Cost(
        stage=stage,
        iterations=table.iterations,
        images=table.iterations * table.batch_size,
        resolution=table.resolution,
        batch_size=table.batch_size,
        parameters=found.parameters,
        gmac_per_image=(found.macs + teacher * found.decoder_macs) / 1e9,
        activation_bytes=found.activation_bytes,
        state_bytes=found.parameters * BYTES * (3 + OPTIMISER_COPIES),
    )
