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
    id: str  # of the plugin, e.g. "jpeg"
    options: dict[str, Any]  # value by name of every option, defaults included
    title: str  # full name, e.g. "KL-VAE"
    family: str  # group of one colour in figures, e.g. "kl-vae"
    licence: str  # of weights and adapter, as SPDX identifier where there is one
    version: str  # of the adapter, from the manifest
    note: str  # e.g. "mini weights, trained on 720 photos"; decided by the checksums
    stochastic: bool  # true if decoding samples noise
    weights: dict[str, str]  # file name -> sha256
    params_encoder: int  # number of parameters; 0 for codecs
    params_decoder: int  # number of parameters; 0 for codecs
    extra: dict[str, Any] = field(default_factory=dict)  # added by the plugin; use of the codebook
    role: Role = "tokenizer"  # place in rankings; the last two were made elsewhere
    weights_origin: Annotated[WeightsOrigin | None, ADDED] = None  # None: no weights, or not known


@dataclass(frozen=True)
class LatentRecord:
    """Size of the latent at this resolution."""

    kind: str  # "continuous", "discrete", "bytes" (a codec's stream) or "unknown"
    f: int  # pixels a side per position of the latent; 0 for tokens in a row, or if unknown
    channels: int  # values per position; 0 for byte streams or if unknown
    shape: tuple[int, int, int] | None  # channels, height, width; None for byte streams
    tokens: int | None  # height times width of the latent; None for byte streams
    floats_per_pixel: float | None  # channels / f^2; None unless continuous
    bits_per_pixel: float | None  # mean over the images; None for continuous latents


@dataclass(frozen=True)
class DataRecord:
    """Identity of the images, so that two results are compared only on the same ones."""

    name: str  # of the data set or folder; for generated images of their references
    n: PositiveInt  # number of images that were scored
    ids_sha256: str  # of the ids, in order
    pixels_sha256: str  # of the uint8 crops, in order
    skipped: tuple[str, ...] = ()  # ids that could not be decoded


@dataclass(frozen=True)
class MetricValue:
    """One score."""

    value: float | None  # in the unit and range of the metric; None if infinite or unavailable
    n: NonNegativeInt  # number of images that it is computed on
    higher_is_better: bool  # direction of better values
    backend: str  # library and version, weights' sha256 prefix; numbers_version is our own code's
    infinite: NonNegativeInt = 0  # number of images whose score is infinite, left out of the mean
    warning: str = ""  # shown as a footnote
    unavailable: str = ""  # reason and fix; then value is None
    interval: tuple[float, float] | None = None  # 95%, over images, not seeds
    interval_method: str = ""  # how the interval was computed
    extra: dict[str, float] = field(default_factory=dict)  # e.g. {"fd_infinity": 0.41}
    command: Annotated[str, ADDED] = ""  # that measured it, if an earlier one than the result's


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one direction; images/s is batch / median."""

    median_s: float  # seconds per call, above 0
    q1_s: float  # seconds per call, first quartile
    q3_s: float  # seconds per call, third quartile
    repeats: int  # number of timed calls
    warmup: int  # number of calls before the clock started
    batch: int  # images per call
    images_per_s: float  # batch / median_s
    gmac_per_image: float | None  # 10^9 multiply-adds of convolutions, matrices; None: codecs
    peak_memory_bytes: int | None  # bytes; None if not measured
    peak_memory_kind: str  # "cuda allocated", "process resident", ...


@dataclass(frozen=True)
class Fidelity:
    """Difference of decoded images from those of the same networks in float32, uncompiled.

    Latents and noise are the same.
    """

    psnr: float | None  # in dB, before rounding; None if the images are equal
    max_difference: float  # 0 to 1, of images in [0, 1]


@dataclass(frozen=True)
class SpeedComparison:
    """Decoding speed over that of another tokenizer, timed by turns in one process."""

    baseline: str  # label of the other tokenizer
    ratio: float  # of images/s, median over the turns, above 0
    interval: tuple[float, float]  # 95% of that median
    turns: int  # number of timed calls of each tokenizer
    batch: Annotated[int | None, ADDED] = None  # images per call, the same for both


@dataclass(frozen=True)
class SpeedRecord:
    """Encode and decode timed apart; :class:`ExecutionRecord` tells what they depend on.

    Workers that share a machine take fewer threads each for the images than one has for the clock.
    """

    encode: Timing  # at the batch of the highest throughput
    decode: Timing  # likewise; of the calls by turns where those have its batch
    warning: str = ""  # e.g. other load on the machine
    encode_single: Annotated[Timing | None, ADDED] = None  # one image per call, if timed apart
    decode_single: Annotated[Timing | None, ADDED] = None  # one image per call, if timed apart
    batches: Annotated[tuple[int, ...], ADDED] = ()  # sizes of batch that were tried
    fidelity: Annotated[Fidelity | None, ADDED] = None  # None if not measured
    comparison: Annotated[SpeedComparison | None, ADDED] = None  # None if not timed by turns
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
    compile: Annotated[Compilation, ADDED] = "off"  # mode of torch.compile; "off": eager
    cuda_graphs: Annotated[bool, ADDED] = False  # true if kernels were replayed as a CUDA graph
    compile_s: Annotated[float | None, ADDED] = None  # seconds, with the first call; None if eager
    suffix: Annotated[str, ADDED] = ""  # of the label, for unusual settings


@dataclass(frozen=True)
class GenerationRecord:
    """Sampling of images from a model of latents, and how long it took."""

    model: str  # e.g. "DiT-XL/2"
    weights: dict[str, str]  # file name -> sha256
    params: int  # number of parameters of the model
    objective: Literal["flow", "ddpm"]  # that the model was trained for
    sampler: Literal["euler", "heun", "ddpm"]  # solver
    steps: int  # sampling steps of the model, not of the decoder
    evaluations: int  # of the network per image, 1 or more, those of guidance included
    guidance_scale: float  # of classifier-free guidance; 1: none
    guidance_interval: tuple[float, float]  # times, 0 to 1, with guidance; 1 is noise
    guided_channels: int  # number of latent channels that are guided, the first ones
    labels: Literal["equal", "random"]  # equal numbers of each class, or random classes
    classes: int  # number of classes that the model knows
    statistics: Literal["per channel", "by the tokenizer"]  # scaling of latents for the model
    model_time: Timing | None  # time of sampling latents; None if not timed
    decoder_time: Timing | None  # time of decoding them; None if not timed
    training: dict[str, Any] = field(default_factory=dict)  # recipe, data and more; may be empty


@dataclass(frozen=True)
class Result:
    """Everything about one measured job."""

    tokenizer: TokenizerRecord  # what was measured
    resolution: PositiveInt  # pixels of a side of the square images
    protocol: Annotated[
        dict[str, Any], IDENTIFIED
    ]  # its id, e.g. "default-v1", sha256 and every setting
    seed: int  # of the noise
    steps: int | None  # number of decoder steps; None if the decoder has none
    latent: LatentRecord  # its kind and size
    data: DataRecord  # the images
    metrics: dict[str, MetricValue]  # by key, e.g. "psnr"
    speed: SpeedRecord | None  # None if not timed
    execution: ExecutionRecord  # device, threads and number format
    environment: dict[str, Any]  # versions of libraries, processor and memory
    command: str  # that measured it
    created: str  # ISO 8601, UTC
    seconds: float  # of work, summed over all processes
    fingerprint: str  # hash of whatever decides the numbers; also in the file name
    warnings: tuple[str, ...] = ()  # shown as footnotes
    scores: Annotated[str, BESIDE] = ""  # Parquet file with a row per image; may be gone
    generation: GenerationRecord | None = None  # None for reconstructions
    status: Literal["ok"] = "ok"  # a job that failed has no file
    numbers_version: Annotated[int | None, ADDED] = None  # None: older than this field
    schema_version: int = SCHEMA_VERSION  # of this file


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
