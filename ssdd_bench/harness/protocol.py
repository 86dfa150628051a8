"""How images become numbers, under a name and a hash: what two results must share to compare.

A published protocol never changes; a change makes a new name. Imports no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ssdd_bench.errors import UnknownNameError
from ssdd_bench.fingerprint import fingerprint


@dataclass(frozen=True)
class Protocol:
    """Every knob of an evaluation; all but ``description`` decide numbers and are hashed.

    Attributes:
        id: name and version.
        description: one line for people.
        crop: name in ``ssdd_bench.data.preprocess.CROPS``.
        posterior: take the encoder's mode, or draw one sample per image.
        dtype: of the networks, as torch names it.
        tf32: whether matrix products may round to TF32.
        metric_batch: pairs given to a metric at a time, whatever the networks' batch size is.
        colour: how any file becomes 8-bit RGB.
        reference: what reconstructions are compared with.
        quantization: how decoded floats become the uint8 that every metric sees.
        noise: what random numbers of encoder and decoder depend on.
        psnr, ssim, frechet: definitions of the metrics.
    """

    id: str
    description: str
    crop: str
    posterior: Literal["mode", "sample"]
    dtype: Literal["float32"]
    tf32: bool
    metric_batch: int
    colour: str
    reference: str
    quantization: str
    noise: str
    psnr: str
    ssim: str
    frechet: str

    @property
    def sha256(self) -> str:
        """Hash of every knob that decides numbers."""
        knobs = asdict(self)
        del knobs["description"]
        return fingerprint(knobs)

    def record(self) -> dict[str, Any]:
        """The protocol as a result file holds it: every knob and the hash."""
        return {**asdict(self), "sha256": self.sha256}


DEFAULT_V1 = Protocol(
    id="default-v1",
    description="ADM centre crop, posterior mode, float32, uint8 rounded once",
    crop="adm",
    posterior="mode",
    dtype="float32",
    tf32=False,
    metric_batch=64,
    colour="RGB; grey replicated; alpha on white; EXIF orientation and colour profile ignored",
    reference="the uint8 crop that was encoded",
    quantization="clamp to [0, 1], round(255 x), once",
    noise="normal, keyed by seed and image id, one stream each for encoder and decoder",
    psnr="mean over images of 10 log10(255^2 / MSE), RGB uint8, float64; identical pairs apart",
    ssim="Gaussian 11 taps sigma 1.5, population covariance, K 0.01 0.03, valid region, RGB mean",
    frechet="float32 features, float64 moments, symmetric eigenvalues; reference of the same ids",
)

PROTOCOLS: dict[str, Protocol] = {protocol.id: protocol for protocol in (DEFAULT_V1,)}


def get_protocol(protocol_id: str) -> Protocol:
    """Look up a protocol.

    Raises:
        UnknownNameError: no such protocol; names the nearest.
    """
    if protocol_id not in PROTOCOLS:
        raise UnknownNameError("protocol", protocol_id, PROTOCOLS)
    return PROTOCOLS[protocol_id]
