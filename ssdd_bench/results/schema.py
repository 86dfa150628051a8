"""The records of an evaluation and of a folder of samples, stored as versioned JSON files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from ssdd_bench.results.records import ADDED, NonNegativeInt, PositiveInt, Rule

SCHEMA_VERSION = 4
GENERATED_VERSION = 2
NUMBERS_VERSION = 5
"""Raised by any change of this package's code that changes a number of an unchanged job."""

NumberFormat = Literal["float32", "bfloat16", "float16"]
"""Format of a network's weights."""
Compilation = Literal["off", "default", "max-autotune"]
"""Mode of ``torch.compile``, or ``off`` for eager execution."""

WeightsOrigin = Literal["shipped", "published", "other", "unverified"]
"""Whose weights ran: those of the plugin's folder, the published ones, or others by checksum."""

IDENTIFIED: Final = Rule(
    "a table with the texts 'id' and 'sha256'",
    lambda table: all(isinstance(table.get(key), str) for key in ("id", "sha256")),
    {
        "properties": {"id": {"type": "string"}, "sha256": {"type": "string"}},
        "required": ["id", "sha256"],
    },
)
_BELOW: Final = r"^(?!(.*/)?\.\.(/|$))([^/\\:\0]+/)*[^/\\:\0]*$"
BESIDE: Final = Rule(
    "a path below this file's folder", re.compile(_BELOW).match, {"pattern": _BELOW}
)

Role = Literal["tokenizer", "codec", "control", "reconstructions", "samples"]
"""Place of a row in rankings; the last two are images that were made elsewhere."""


@dataclass(frozen=True)
class TokenizerRecord:
    """Identity of the measured tokenizer, down to the bytes of its weights."""

    label: str  # canonical spec, e.g. "ssdd" or "jpeg:quality=50": defaults are left out
    id: str
    options: dict[str, Any]  # every option, defaults included
    title: str
    family: str  # display group
    licence: str
    version: str  # adapter version from the manifest
    note: str  # e.g. "mini weights, trained on 720 photos"; decided by the checksums
    stochastic: bool
    weights: dict[str, str]  # file name -> sha256
    params_encoder: int
    params_decoder: int
    extra: dict[str, Any] = field(default_factory=dict)
    role: Role = "tokenizer"
    weights_origin: Annotated[WeightsOrigin | None, ADDED] = None  # None: no weights, or not known


@dataclass(frozen=True)
class LatentRecord:
    """Size of the latent at this resolution."""

    kind: str
    f: int
    channels: int
    shape: tuple[int, int, int] | None  # (c, h, w); None for byte streams
    tokens: int | None  # h * w
    floats_per_pixel: float | None  # continuous latents
    bits_per_pixel: float | None  # discrete latents and byte streams (mean over the set)


@dataclass(frozen=True)
class DataRecord:
    """Identity of the images, so that two results are compared only on the same ones."""

    name: str
    n: PositiveInt
    ids_sha256: str  # ordered ids
    pixels_sha256: str  # the uint8 crops, in order
    skipped: tuple[str, ...] = ()  # ids that could not be decoded


@dataclass(frozen=True)
class MetricValue:
    """One score."""

    value: float | None  # None where the metric is infinite or unavailable
    n: NonNegativeInt
    higher_is_better: bool
    backend: str  # library and version, and the weights' sha256 prefix where there are any
    infinite: NonNegativeInt = 0  # images whose score is infinite, left out of the mean
    warning: str = ""  # shown as a footnote
    unavailable: str = ""  # reason and fix; then value is None
    interval: tuple[float, float] | None = None  # 95%, over images and not over seeds
    interval_method: str = ""
    extra: dict[str, float] = field(default_factory=dict)  # e.g. {"fd_infinity": 0.41}
    command: Annotated[str, ADDED] = ""  # that measured it, if an earlier one than the result's


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one direction; images/s is batch / median."""

    median_s: float
    q1_s: float
    q3_s: float
    repeats: int
    warmup: int
    batch: int
    images_per_s: float
    gmac_per_image: float | None  # convolutions and matrix products; None for codecs
    peak_memory_bytes: int | None
    peak_memory_kind: str  # "cuda allocated", "process resident", ...


@dataclass(frozen=True)
class Fidelity:
    """Difference of decoded images from those of the same networks in float32, uncompiled.

    Latents and noise are the same.
    """

    psnr: float | None  # in dB, before rounding; None if the images are equal
    max_difference: float  # of images in [0, 1]


@dataclass(frozen=True)
class SpeedComparison:
    """Decoding speed over that of another tokenizer, timed by turns in one process."""

    baseline: str  # label of the other tokenizer
    ratio: float  # of images/s, median over the turns
    interval: tuple[float, float]  # 95% of that median
    turns: int
    batch: Annotated[int | None, ADDED] = None  # images per call, the same for both


@dataclass(frozen=True)
class SpeedRecord:
    """Encode and decode timed apart; :class:`ExecutionRecord` tells what they depend on.

    Workers that share a machine take fewer threads each for the images than one has for the clock.
    """

    encode: Timing  # at the batch of the highest throughput
    decode: Timing  # with a comparison, of the same calls where those have the same batch
    warning: str = ""  # e.g. other load on the machine
    encode_single: Annotated[Timing | None, ADDED] = None  # one image per call
    decode_single: Annotated[Timing | None, ADDED] = None
    batches: Annotated[tuple[int, ...], ADDED] = ()  # that were tried
    fidelity: Annotated[Fidelity | None, ADDED] = None
    comparison: Annotated[SpeedComparison | None, ADDED] = None
    threads: Annotated[int | None, ADDED] = None  # of the CPU; None: those of the execution


@dataclass(frozen=True)
class ExecutionRecord:
    """Settings of execution, which decide the speed and may move the last digits of a number.

    None: not recorded, as in results that are older than these fields.
    """

    device: str  # a GPU's model, otherwise "cpu"
    threads: int | None  # of the CPU, per operation
    dtype: str  # what the networks computed in, e.g. "float32" or "bfloat16 autocast"
    memory_format: Literal["contiguous", "channels_last", "mixed", "none"] | None  # of weights
    kept_memory: bool | None  # the C library kept freed memory for the next call
    cpu_kernels: str | None  # instruction set of torch's kernels, e.g. "AVX512"
    onednn: bool | None  # oneDNN's kernels were on
    cudnn: int | None  # version; None on a CPU
    compile: Annotated[Compilation, ADDED] = "off"
    cuda_graphs: Annotated[bool, ADDED] = False
    compile_s: Annotated[float | None, ADDED] = None  # with the first call; None if eager
    suffix: Annotated[str, ADDED] = ""  # of the label: unusual settings


@dataclass(frozen=True)
class GenerationRecord:
    """Sampling of images from a model of latents, and how long it took."""

    model: str  # e.g. "DiT-XL/2"
    weights: dict[str, str]  # file name -> sha256
    params: int
    objective: Literal["flow", "ddpm"]
    sampler: Literal["euler", "heun", "ddpm"]
    steps: int
    evaluations: int  # of the network per image, those of guidance included
    guidance_scale: float  # 1: none
    guidance_interval: tuple[float, float]  # times, 1 is noise
    guided_channels: int
    labels: Literal["equal", "random"]
    classes: int
    statistics: Literal["per channel", "by the tokenizer"]  # scaling of latents for the model
    model_time: Timing | None
    decoder_time: Timing | None
    training: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Everything about one measured job."""

    tokenizer: TokenizerRecord
    resolution: PositiveInt
    protocol: Annotated[
        dict[str, Any], IDENTIFIED
    ]  # {"id": "default-v1", "sha256": ..., and every setting}
    seed: int
    steps: int | None
    latent: LatentRecord
    data: DataRecord
    metrics: dict[str, MetricValue]
    speed: SpeedRecord | None
    execution: ExecutionRecord
    environment: dict[str, Any]  # versions and hardware
    command: str
    created: str  # ISO 8601, UTC
    seconds: float
    fingerprint: str  # hash of whatever decides the numbers; also in the file name
    warnings: tuple[str, ...] = ()
    scores: Annotated[str, BESIDE] = ""  # Parquet file with a row per image; may be gone
    generation: GenerationRecord | None = None  # None for reconstructions
    status: Literal["ok"] = "ok"
    numbers_version: Annotated[int | None, ADDED] = None  # None: older than this field
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class GeneratedRecord:
    """Content of ``generated.json``, beside ``samples.npz`` in a folder of samples."""

    fingerprint: str  # hash of whatever decides the samples
    generation: GenerationRecord
    tokenizer: TokenizerRecord
    decoder_steps: int | None
    latent: LatentRecord
    resolution: PositiveInt
    samples: PositiveInt
    seed: int
    classes: tuple[str, ...]
    warnings: tuple[str, ...]
    execution: ExecutionRecord
    environment: dict[str, Any]
    command: str
    schema_version: int = GENERATED_VERSION
