"""DreamSim (Fu et al. 2023) by the authors' package, without its downloads.

The package fetches weights even where it is told not to, and code from a repository, which it
runs. Here its weights come from verified files, and the one network that it takes from that
repository is built from the package's own copy.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssdd_bench.errors import UnavailableError
from ssdd_bench.metrics.base import MetricOptions, PerImageMetric
from ssdd_bench.weights.cache import cache_folder, require
from ssdd_bench.weights.download import unpack
from ssdd_bench.weights.files import sha256_file

SIDE = 224


@contextlib.contextmanager
def _without_hub(dino: Path) -> Iterator[None]:
    """Answer the package's one request to torch.hub from its own code and a verified file."""
    from dreamsim.feature_extraction.vision_transformer import vit_base

    def load(repository: str, model: str) -> Any:
        network = vit_base(patch_size=16, num_classes=0)
        network.load_state_dict(torch.load(dino, map_location="cpu", weights_only=True))
        return network

    kept = torch.hub.load, torch.hub.set_dir
    torch.hub.load = load  # type: ignore[assignment]
    torch.hub.set_dir = lambda d: None
    try:
        yield
    finally:
        torch.hub.load, torch.hub.set_dir = kept


def load_dreamsim(kind: str, folder: Path, dino: Path, device: torch.device) -> Any:
    """Build the package's model from files that are all there.

    Args:
        kind: ``ensemble`` or ``dino_vitb16``.
        folder: with the members of the package's archive.
        dino: weights of the DINO network.
        device: of the model.
    """
    import dreamsim

    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        _without_hub(dino),
    ):
        warnings.simplefilter("ignore")  # weight_norm and peft announce changes of their own
        model, _ = dreamsim.dreamsim(
            pretrained=True, device=str(device), cache_dir=str(folder), dreamsim_type=kind
        )
    return model


class _DreamSim(PerImageMetric):
    higher_is_better = False
    kind: ClassVar[str]
    asset: ClassVar[str]
    members: ClassVar[tuple[str, ...]]

    def __init__(
        self, device: torch.device | None = None, options: MetricOptions | None = None
    ) -> None:
        super().__init__(device, options)
        archive, dino = require(self.asset), require("dino_vitb16")
        try:
            import dreamsim  # noqa: F401
        except ImportError as error:
            raise UnavailableError(
                f"{self.key} needs the package dreamsim: pip install 'ssdd-bench[dreamsim]'"
            ) from error
        checksum = sha256_file(archive)[:8]
        folder = cache_folder() / "dreamsim" / checksum
        unpack(archive, self.members, folder)
        self._device = device or torch.device("cpu")
        self.model = load_dreamsim(self.kind, folder, dino, self._device)
        self.backend = f"dreamsim {version('dreamsim')} {self.kind} (sha256 {checksum})"

    @torch.inference_mode()
    def score(self, reference: Tensor, reconstruction: Tensor) -> list[float]:
        """One minus the cosine of two embeddings, in [0, 2]; one image at a time on a CPU."""
        group = 1 if self._device.type == "cpu" else len(reference)
        scores: list[float] = []
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for a, b in zip(reference.split(group), reconstruction.split(group), strict=True):
                scores += self.model(self._input(a), self._input(b)).tolist()
        return scores

    def _input(self, images: Tensor) -> Tensor:
        """In [0, 1], at 224 px by Pillow (bicubic, antialiased), as the package does it."""
        if self.options.dreamsim_resize:
            images = torch.stack([_resize(image) for image in images])
        return images.to(self._device).float() / 255


def _resize(image: Tensor) -> Tensor:
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    small = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


class DreamSim(_DreamSim):
    """The ensemble of three networks, which is the package's default."""

    key = "dreamsim"
    kind = "ensemble"
    asset = "dreamsim_ensemble"
    members = (
        "dino_vitb16_pretrain.pth",
        "clip_vitb16_pretrain.pth.tar",
        "open_clip_vitb16_pretrain.pth.tar",
        "ensemble_lora/",
    )


class DreamSimDINO(_DreamSim):
    """The single DINO branch, some three times as fast; another scale."""

    key = "dreamsim_dino_vitb16"
    kind = "dino_vitb16"
    asset = "dreamsim_dino_vitb16"
    members = ("dino_vitb16_pretrain.pth", "dino_vitb16_single_lora/")
