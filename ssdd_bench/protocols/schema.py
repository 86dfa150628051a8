"""The settings of a protocol: enumerations, numbers and switches, and the hash of all of them.

Words for people stand in :mod:`ssdd_bench.protocols.descriptions` and are not hashed. A published
protocol never changes; a change makes a new name. Imports no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal

from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.metrics.catalog import default_metrics
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.records import POSITIVE

NO_SETTING: Final = "(no such setting)"


@dataclass(frozen=True)
class Settings:
    """Settings that every protocol has. None has a default: each protocol states all of them.

    Attributes:
        id: name and version.
        description: one line for people; the only field that is not hashed.
        metrics: keys that it is about; empty for those that a run measures unless told otherwise.
        dtype: of the networks' weights, as torch names it.
        autocast: what torch's autocast may compute in.
        tf32: whether matrix products may round to TF32.
        quantization: how decoded floats become the uint8 that every metric sees.
        frechet: how a Fréchet distance is computed from features.
    """

    id: str
    description: str
    metrics: tuple[str, ...]
    dtype: Literal["float32"]
    autocast: Literal["none", "bfloat16"]
    tf32: bool
    quantization: Literal["round once"]
    frechet: Literal["float64 moments"]

    @property
    def sha256(self) -> str:
        """Hash of every setting."""
        settings = asdict(self)
        del settings["description"]
        return fingerprint(settings)

    @property
    def number_format(self) -> str:
        """Name of the number format that the networks compute in."""
        return self.dtype if self.autocast == "none" else f"{self.autocast} autocast"

    def record(self) -> dict[str, Any]:
        """Return the protocol as a result file holds it: every setting and the hash."""
        return {**asdict(self), "sha256": self.sha256}


@dataclass(frozen=True)
class Protocol(Settings):
    """Settings of an evaluation of reconstructions.

    Attributes:
        kind: what it scores.
        colour: how any file becomes 8-bit RGB.
        crop: name in ``ssdd_bench.data.preprocessing.CROPS``.
        reference: what reconstructions are compared with.
        posterior: take the encoder's mode, or one sample per image.
        encoder_noise: what the posterior's samples depend on.
        decoder_noise: each image's own, by seed and id; or one generator for the whole set, image
            after image.
        metric_batch: pairs given to a metric at a time, whatever the networks' batch size is.
        lpips_padding, dreamsim_resize: see :class:`ssdd_bench.metrics.base.MetricOptions`.
    """

    kind: Literal["reconstruction"]
    colour: Literal["rgb on white"]
    crop: Literal["adm", "bilinear"]
    reference: Literal["crops"]
    posterior: Literal["mode", "sample"]
    encoder_noise: Literal["keyed"]
    decoder_noise: Literal["keyed", "ordered"]
    metric_batch: Annotated[int, POSITIVE]
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

    Attributes:
        kind: what it scores.
        samples: number of images; fewer of them go under a name that carries their number.
        labels: how the classes of the samples are chosen.
        noise: what random numbers of the sampler depend on.
        flow_sampler: for networks trained by flow matching.
        ddpm_sampler: for networks that predict noise.
        steps: of the sampler.
        guided_channels: number of the latent's channels that are guided.
        guidance_interval: times at which guidance is on.
        statistics: how latents are scaled for the model and back.
        reference: what the samples are compared with.
        inception_score, precision_recall: definitions of the metrics.
    """

    kind: Literal["generation"]
    samples: Annotated[int, POSITIVE]
    labels: Literal["equal", "random"]
    noise: Literal["keyed"]
    flow_sampler: Literal["euler"]
    ddpm_sampler: Literal["ddpm"]
    steps: Annotated[int, POSITIVE]
    guided_channels: Annotated[int, POSITIVE] | Literal["all"]
    guidance_interval: Literal["whole", "any"]
    statistics: Literal["per channel", "by the tokenizer"]
    reference: Literal["training moments"]
    inception_score: Literal["ten shuffled parts"]
    precision_recall: Literal["three neighbours"]


AnyProtocol = Protocol | GenerationProtocol


def differences(first: AnyProtocol, second: AnyProtocol) -> dict[str, tuple[Any, Any]]:
    """Compare two protocols.

    Returns:
        Both values of each setting that differs, by its name; :data:`NO_SETTING` where one kind of
        protocol lacks the setting.
    """
    one, other = asdict(first), asdict(second)
    pairs = {n: (one.get(n, NO_SETTING), other.get(n, NO_SETTING)) for n in one | other}
    return {
        name: pair
        for name, pair in pairs.items()
        if pair[0] != pair[1] and name not in ("id", "description")
    }
