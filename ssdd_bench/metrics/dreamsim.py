"""DreamSim (Fu et al. 2023), by the authors' package, without its downloads.

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
from typing import Any

import torch
from torch import Tensor

from ssdd_bench.api.formats import tf32
from ssdd_bench.errors import UnavailableError
from ssdd_bench.install import install_command
from ssdd_bench.metrics.base import PerImageMetric
from ssdd_bench.metrics.images import Parts, resize
from ssdd_bench.weights.assets import cache_folder, require
from ssdd_bench.weights.download import unpack
from ssdd_bench.weights.files import sha256_file

SIDE = 224
MEMBERS = {
    "ensemble": (
        "dino_vitb16_pretrain.pth",
        "clip_vitb16_pretrain.pth.tar",
        "open_clip_vitb16_pretrain.pth.tar",
        "ensemble_lora/",
    ),
    "dino_vitb16": ("dino_vitb16_pretrain.pth", "dino_vitb16_single_lora/"),
}
"""Paths in the package's archive by kind of model; one that ends in ``/`` is a folder."""


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


def _load_model(kind: str, folder: Path, dino: Path, device: torch.device) -> Any:
    """Build the package's model from the unpacked archive and the weights of DINO."""
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


class DreamSim(PerImageMetric):
    """DreamSim by the networks of the archive that the catalogue names.

    The DINO branch alone is three times as fast as the ensemble, and on another scale.
    """

    on_device = True

    def load(self) -> None:
        """Load the networks."""
        kind = self.info.assets[0].removeprefix("dreamsim_")
        archive, dino = map(require, self.info.assets)
        try:
            import dreamsim  # noqa: F401
        except ImportError as error:
            raise UnavailableError(
                f"{self.info.key} needs the package dreamsim: {install_command('dreamsim')}"
            ) from error
        checksum = sha256_file(archive)[:8]
        folder = cache_folder() / "dreamsim" / checksum
        unpack(archive, MEMBERS[kind], folder)
        self.model = _load_model(kind, folder, dino, self.device)
        self._parts = Parts(1)
        self.backend = f"dreamsim {version('dreamsim')} {kind} (sha256 {checksum})"

    @torch.inference_mode()
    @tf32(False)
    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return one minus the cosine of two embeddings, in [0, 2]."""
        sides = self._input(references), self._input(reconstructions)
        return torch.cat(self._parts.call(self.model, *sides)).tolist()

    def _input(self, images: Tensor) -> Tensor:
        """Scale to [0, 1], at 224 px like the package."""
        if self.options.dreamsim_resize:
            images = resize(images, SIDE).contiguous()
        return images.to(self.device).float() / 255
