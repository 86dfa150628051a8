"""How images become numbers, under a name and a hash: what two results must share to compare.

A published protocol never changes; a change makes a new name. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.metrics.catalog import default_metrics
from ssdd_bench.plugins.discovery import BUILT_IN, Broken, Found, Packaged, find_packaged
from ssdd_bench.plugins.registry import Registry
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.records import read_record, read_toml

# Knobs that came after a protocol was published, with the value that was meant before they
# existed. A knob is left out of the hash where it has that value, so that hashes stay. These are
# no defaults: every protocol spells out every knob, and no entry here may ever change.
MEANT_BEFORE: dict[str, Any] = {
    "kind": "reconstruction",
    "metrics": (),
    "autocast": None,
    "decoder_noise": "keyed",
    "lpips_padding": False,
    "dreamsim_resize": True,
}

NO_KNOB = "(no such knob)"

GROUP = "ssdd_bench.protocols"
FILE_NAME = "protocol.toml"
VERSIONED = re.compile(r"[a-z][a-z0-9-]*-v[1-9]\d*")
# What a protocol of others may set: the knobs that our code obeys. The rest tells what it does.
FREE = (
    "metrics",
    "crop",
    "posterior",
    "autocast",
    "tf32",
    "metric_batch",
    "lpips_padding",
    "dreamsim_resize",
)


@dataclass(frozen=True)
class Knobs:
    """What every protocol has: a name, and the hash of all that decides its numbers.

    Attributes:
        id: name and version.
        description: one line for people; the only field that is not hashed.
    """

    id: str
    description: str

    @property
    def sha256(self) -> str:
        """Hash of every knob that decides numbers; see :data:`MEANT_BEFORE` for later ones."""
        knobs = asdict(self)
        del knobs["description"]
        for name, value in MEANT_BEFORE.items():
            if name in knobs and knobs[name] == value:
                del knobs[name]
        return fingerprint(knobs)

    def record(self) -> dict[str, Any]:
        """The protocol as a result file holds it: every knob and the hash."""
        return {**asdict(self), "sha256": self.sha256}


@dataclass(frozen=True)
class Protocol(Knobs):
    """Every knob of an evaluation of reconstructions.

    Attributes:
        kind: what it scores.
        metrics: keys that it is about; empty for those that a run measures unless told otherwise.
        crop: name in ``ssdd_bench.data.preprocessing.CROPS``.
        posterior: take the encoder's mode, or draw one sample per image.
        dtype: of the networks' weights, as torch names it.
        autocast: what torch's autocast may compute in; None leaves it off.
        tf32: whether matrix products may round to TF32.
        metric_batch: pairs given to a metric at a time, whatever the networks' batch size is.
        decoder_noise: each image's own, by seed and id; or one generator for the whole set, image
            after image.
        lpips_padding, dreamsim_resize: see :class:`ssdd_bench.metrics.base.MetricOptions`.
        colour: how any file becomes 8-bit RGB.
        reference: what reconstructions are compared with.
        quantization: how decoded floats become the uint8 that every metric sees.
        noise: what random numbers of encoder and decoder depend on.
        psnr, ssim, frechet: definitions of the metrics.
    """

    kind: Literal["reconstruction"]
    metrics: tuple[str, ...]
    crop: str
    posterior: Literal["mode", "sample"]
    dtype: Literal["float32"]
    autocast: Literal["bfloat16"] | None
    tf32: bool
    metric_batch: int
    decoder_noise: Literal["keyed", "ordered"]
    lpips_padding: bool
    dreamsim_resize: bool
    colour: str
    reference: str
    quantization: str
    noise: str
    psnr: str
    ssim: str
    frechet: str

    @property
    def metric_keys(self) -> tuple[str, ...]:
        """What a run measures unless told otherwise."""
        return self.metrics or default_metrics("pairs")

    @property
    def metric_options(self) -> MetricOptions:
        """What the metrics are told."""
        return MetricOptions(self.lpips_padding, self.dreamsim_resize)

    @property
    def number_format(self) -> str:
        """For people: what the networks compute in."""
        return f"{self.autocast} autocast" if self.autocast else self.dtype


@dataclass(frozen=True)
class GenerationProtocol(Knobs):
    """Every knob of an evaluation of images drawn by a model of latents.

    Attributes:
        kind: what it scores.
        metrics: keys that it is about.
        samples: images drawn; fewer of them go under a name that carries their number.
        labels: how the classes of the samples are chosen.
        noise: what random numbers of the sampler depend on.
        sampler: how a sample is drawn from the model.
        steps: of the sampler.
        guidance: what a row says about classifier-free guidance.
        guided_channels: how many of the latent's channels are guided.
        latents: how latents are scaled for the model and back.
        dtype: of the networks' weights, as torch names it.
        autocast: what torch's autocast may compute in; None leaves it off.
        tf32: whether matrix products may round to TF32.
        quantization: how decoded floats become the uint8 that every metric sees.
        reference: what the samples are compared with.
        frechet, inception_score, precision_recall: definitions of the metrics.
        reporting: what a row says besides.
    """

    kind: Literal["generation"]
    metrics: tuple[str, ...]
    samples: int
    labels: str
    noise: str
    sampler: str
    steps: int
    guidance: str
    guided_channels: int | Literal["all"]
    latents: str
    dtype: Literal["float32"]
    autocast: Literal["bfloat16"] | None
    tf32: bool
    quantization: str
    reference: str
    frechet: str
    inception_score: str
    precision_recall: str
    reporting: str


_COLOUR = "RGB; grey replicated; alpha on white; EXIF orientation and colour profile ignored"
_CROPS = "the uint8 crop that was encoded"
_ROUNDED = "clamp to [0, 1], round(255 x), once"
_KEYED = "normal, keyed by seed and image id, one stream each for encoder and decoder"
_PSNR = "mean over images of 10 log10(255^2 / MSE), RGB uint8, float64; identical pairs apart"
_SSIM = "Gaussian 11 taps sigma 1.5, population covariance, K 0.01 0.03, valid region, RGB mean"
_FRECHET = "float32 features, float64 moments, symmetric eigenvalues; reference of the same ids"

DEFAULT_V1 = Protocol(
    id="default-v1",
    description="ADM centre crop, posterior mode, float32, uint8 rounded once",
    kind="reconstruction",
    metrics=(),
    crop="adm",
    posterior="mode",
    dtype="float32",
    autocast=None,
    tf32=False,
    metric_batch=64,
    decoder_noise="keyed",
    lpips_padding=False,
    dreamsim_resize=True,
    colour=_COLOUR,
    reference=_CROPS,
    quantization=_ROUNDED,
    noise=_KEYED,
    psnr=_PSNR,
    ssim=_SSIM,
    frechet=_FRECHET,
)

SSDD_PAPER_V1 = Protocol(
    id="ssdd-paper-v1",
    description="as the SSDD paper evaluates: bilinear crop, pooled PSNR, 7x7 SSIM, bf16 autocast",
    kind="reconstruction",
    metrics=(
        "rfid",
        "psnr_pooled",
        "ssim_skimage7",
        "lpips_alex",
        "dreamsim",
        "mse",
        "mae",
    ),
    crop="bilinear",
    posterior="mode",
    dtype="float32",
    autocast="bfloat16",
    tf32=False,
    metric_batch=64,
    decoder_noise="ordered",
    lpips_padding=True,
    dreamsim_resize=False,
    colour=_COLOUR,
    reference=_CROPS,
    quantization=_ROUNDED,
    noise="normal; the decoder's from one CPU generator with the run's seed, image after image",
    psnr="10 log10(255^2 / mean MSE of the whole set), RGB uint8, float64",
    ssim="uniform 7x7 window, sample covariance, K 0.01 0.03, valid region, RGB mean",
    frechet=_FRECHET,
)

LDM_V1 = Protocol(
    id="ldm-v1",
    description="as latent diffusion's autoencoders are often evaluated: bilinear crop, sampled",
    kind="reconstruction",
    metrics=("rfid", "psnr", "psnr_pooled", "ssim", "lpips_vgg", "lpips_alex"),
    crop="bilinear",
    posterior="sample",
    dtype="float32",
    autocast=None,
    tf32=False,
    metric_batch=64,
    decoder_noise="keyed",
    lpips_padding=False,
    dreamsim_resize=True,
    colour=_COLOUR,
    reference=_CROPS,
    quantization=_ROUNDED,
    noise=_KEYED,
    psnr=_PSNR,
    ssim=_SSIM,
    frechet=_FRECHET,
)

_SUITE = ("gfid", "sfid", "isc", "precision", "recall")
_ADM_MOMENTS = "moments of the training set, from ADM's npz of the resolution"
_STEPPER = "ancestral DDPM, respaced, for noise prediction; Euler ODE for flows"
_ADM_FRECHET = "float32 Inception features, float64 moments; sFID: 7 x 17 x 17 in NHWC order"
_INCEPTION_SCORE = "logits without bias, 10 chunks of 5,000, after a seeded shuffle"
_PRECISION_RECALL = "k = 3, pool features, float32, against the 10,000 images of ADM's npz"
_SAMPLE_NOISE = "normal, start and every step, keyed by seed and sample index"

ADM_V1 = GenerationProtocol(
    id="adm-v1",
    description="generation as DiT reports it: random labels, three guided channels, ADM's suite",
    kind="generation",
    metrics=_SUITE,
    samples=50_000,
    labels="each uniform over the classes, keyed by seed and sample index",
    noise=_SAMPLE_NOISE,
    sampler=_STEPPER,
    steps=250,
    guidance="scale in the row, 1 for none; all time steps",
    guided_channels=3,
    latents="one factor for all channels, of the tokenizer",
    dtype="float32",
    autocast=None,
    tf32=False,
    quantization=_ROUNDED,
    reference=_ADM_MOMENTS,
    frechet=_ADM_FRECHET,
    inception_score=_INCEPTION_SCORE,
    precision_recall=_PRECISION_RECALL,
    reporting="number of seeds; mean and range where there are several",
)

GFID_V1 = GenerationProtocol(
    id="gfid-v1",
    description="generation to compare tokenizers by: balanced labels, no guidance first",
    kind="generation",
    metrics=_SUITE,
    samples=50_000,
    labels="the same number of each class, in a fixed shuffled order",
    noise=_SAMPLE_NOISE,
    sampler=_STEPPER,
    steps=250,
    guidance="none is the primary row; gfid_cfg is a row of its own with scale and interval",
    guided_channels="all",
    latents="standardised per channel by statistics kept with the tokenizer's weights hash",
    dtype="float32",
    autocast=None,
    tf32=False,
    quantization=_ROUNDED,
    reference=_ADM_MOMENTS + "; a row may name another",
    frechet=_ADM_FRECHET,
    inception_score=_INCEPTION_SCORE,
    precision_recall=_PRECISION_RECALL,
    reporting="number of seeds; mean and range where there are several",
)

BUILT_IN_PROTOCOLS: dict[str, Protocol | GenerationProtocol] = {
    protocol.id: protocol for protocol in (DEFAULT_V1, SSDD_PAPER_V1, LDM_V1, ADM_V1, GFID_V1)
}


def _discover() -> Iterator[Found[Protocol | GenerationProtocol] | Broken]:
    yield from (Found(name, BUILT_IN, one) for name, one in BUILT_IN_PROTOCOLS.items())
    yield from find_packaged(GROUP, FILE_NAME, _load)


def _load(entry: Packaged) -> dict[str, Protocol | GenerationProtocol]:
    """Build a protocol of ours with other values of the knobs that our code obeys."""
    said = read_toml(entry.file)
    base = BUILT_IN_PROTOCOLS.get(said.pop("base", ""))
    if not isinstance(base, Protocol) or "description" not in said:
        raise UserError(
            f"{entry.file}: needs a description, and as its base one of ours that a run measures"
        )
    if unknown := said.keys() - {"description", *FREE}:
        error = UnknownNameError("knob", min(unknown), ("base", "description", *FREE))
        raise UserError(f"{entry.file}: {error}")
    if not VERSIONED.fullmatch(entry.name):
        raise UserError(f"{entry.file}: '{entry.name}' is no id with a version such as my-lab-v1")
    knobs = asdict(base) | {"metrics": list(base.metrics), "id": entry.name} | said
    return {entry.name: read_record(Protocol, knobs, str(entry.file))}


PROTOCOLS: Final = Registry("protocol", _discover)


def get_protocol(protocol_id: str) -> Protocol:
    """Look up a protocol of reconstructions, which is what a run measures.

    Raises:
        UnknownNameError: no such protocol; names the nearest.
        UserError: it is about generated images.
    """
    protocol = PROTOCOLS.get(protocol_id)
    if isinstance(protocol, GenerationProtocol):
        raise UserError(
            f"protocol '{protocol_id}' is for images that a model of latents has drawn, and a run "
            "measures reconstructions: take default-v1, or see `ssdd-bench list protocols`"
        )
    return protocol


def differences(
    first: Protocol | GenerationProtocol, second: Protocol | GenerationProtocol
) -> dict[str, tuple[Any, Any]]:
    """The knobs that differ, with both values; :data:`NO_KNOB` where one kind lacks a knob."""
    one, other = asdict(first), asdict(second)
    pairs = {name: (one.get(name, NO_KNOB), other.get(name, NO_KNOB)) for name in one | other}
    return {
        name: pair
        for name, pair in pairs.items()
        if pair[0] != pair[1] and name not in ("id", "description")
    }
