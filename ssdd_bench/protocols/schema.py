"""The settings of a protocol, and their hash. A published protocol never changes.

Meanings for people stand in :mod:`ssdd_bench.protocols.descriptions` and are not hashed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.metrics.catalog import default_metrics
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.records import PositiveInt
from ssdd_bench.results.schema import NumberFormat

NO_SETTING: Final = "(no such setting)"


@dataclass(frozen=True)
class Superseded:
    """A former version of a protocol, whose results are kept but not compared with present ones.

    Attributes:
        sha256: hash of its settings.
        change: what it did otherwise, in one sentence without a full stop.
    """

    sha256: str
    change: str


@dataclass(frozen=True)
class Settings:
    """Settings of every protocol, described in :data:`ssdd_bench.protocols.descriptions.MEANINGS`.

    None has a default: each protocol states all of them.
    """

    id: str  # name and version
    description: str  # not hashed
    metrics: tuple[str, ...]  # empty for those that a run measures unless told otherwise
    dtype: NumberFormat
    autocast: Literal["none", "bfloat16"]
    tf32: bool
    quantization: Literal["round once"]
    frechet: Literal["float64 moments"]
    superseded: tuple[Superseded, ...] = field(default=(), kw_only=True)  # neither hashed nor saved

    @cached_property
    def sha256(self) -> str:
        """Hash of every setting."""
        settings = self.settings()
        del settings["description"]
        return fingerprint(settings)

    def settings(self) -> dict[str, Any]:
        """Return the id, the description and every setting."""
        settings = asdict(self)
        del settings["superseded"]
        return settings

    @property
    def number_format(self) -> str:
        """Name of the number format that the networks compute in."""
        return self.dtype if self.autocast == "none" else f"{self.autocast} autocast"

    def record(self) -> dict[str, Any]:
        """Return the protocol as a result file holds it: every setting and the hash."""
        return {**self.settings(), "sha256": self.sha256}


@dataclass(frozen=True)
class Protocol(Settings):
    """Settings of an evaluation of reconstructions."""

    kind: Literal["reconstruction"]
    colour: Literal["rgb on white"]
    crop: Literal["adm", "bilinear"]  # names in ``ssdd_bench.data.preprocessing.CROPS``
    reference: Literal["crops"]
    posterior: Literal["mode", "sample"]
    encoder_noise: Literal["philox"]
    decoder_noise: Literal["philox", "ordered"]
    metric_batch: PositiveInt  # pairs given to a metric at a time
    lpips_padding: bool
    dreamsim_resize: bool

    @property
    def metric_keys(self) -> tuple[str, ...]:
        """Metrics that a run measures unless told otherwise."""
        return self.metrics or default_metrics("pairs")

    @property
    def metric_options(self) -> MetricOptions:
        """Options of the metrics."""
        return MetricOptions(self.lpips_padding, self.dreamsim_resize)


@dataclass(frozen=True)
class GenerationProtocol(Settings):
    """Settings of an evaluation of images sampled from a model of latents.

    Samples made otherwise are scored too, with a warning that names the difference.
    """

    kind: Literal["generation"]
    samples: PositiveInt  # fewer go under a name that carries their number
    labels: Literal["equal", "random"]
    noise: Literal["philox"]
    flow_sampler: Literal["euler"]  # of networks trained by flow matching
    ddpm_sampler: Literal["ddpm"]  # of networks that predict noise
    steps: PositiveInt
    guided_channels: PositiveInt | Literal["all"]
    guidance_interval: Literal["whole", "any"]
    statistics: Literal["per channel", "by the tokenizer"]
    reference: Literal["training moments"]
    inception_score: Literal["ten shuffled parts"]
    precision_recall: Literal["three neighbours"]


AnyProtocol = Protocol | GenerationProtocol


def differences(first: AnyProtocol, second: AnyProtocol) -> dict[str, tuple[Any, Any]]:
    """Return both values of each setting that differs, :data:`NO_SETTING` for a missing one."""
    one, other = first.settings(), second.settings()
    names = [name for name in one | other if name not in ("id", "description")]
    pairs = {name: (one.get(name, NO_SETTING), other.get(name, NO_SETTING)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
