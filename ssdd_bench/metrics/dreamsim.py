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
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ssdd_bench.errors import UnavailableError
from ssdd_bench.metrics.base import MetricOptions, PerImageMetric
from ssdd_bench.metrics.images import exact_convolutions, resize, split_on_cpu
from ssdd_bench.weights.cache import cache_folder, require
from ssdd_bench.weights.download import unpack
from ssdd_bench.weights.files import sha256_file

if TYPE_CHECKING:
    from ssdd_bench.metrics.catalog import MetricInfo

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
    kind: ClassVar[str]
    members: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        info: MetricInfo,
        device: torch.device | None = None,
        options: MetricOptions | None = None,
    ) -> None:
        super().__init__(info, device, options)
        archive, dino = map(require, info.assets)
        try:
            import dreamsim  # noqa: F401
        except ImportError as error:
            raise UnavailableError(
                f"{info.key} needs the package dreamsim: pip install 'ssdd-bench[dreamsim]'"
            ) from error
        checksum = sha256_file(archive)[:8]
        folder = cache_folder() / "dreamsim" / checksum
        unpack(archive, self.members, folder)
        self._device = device or torch.device("cpu")
        self.model = load_dreamsim(self.kind, folder, dino, self._device)
        self.backend = f"dreamsim {version('dreamsim')} {self.kind} (sha256 {checksum})"

    @torch.inference_mode()
    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return one minus the cosine of two embeddings, in [0, 2]."""
        scores: list[float] = []
        with exact_convolutions():
            for a, b in split_on_cpu(1, self._input(references), self._input(reconstructions)):
                scores += self.model(a, b).tolist()
        return scores

    def _input(self, images: Tensor) -> Tensor:
        """Scale to [0, 1], at 224 px like the package."""
        if self.options.dreamsim_resize:
            images = resize(images, SIDE).contiguous()
        return images.to(self._device).float() / 255


class DreamSim(_DreamSim):
    """DreamSim by the ensemble of three networks, the package's default."""

    kind = "ensemble"
    members = (
        "dino_vitb16_pretrain.pth",
        "clip_vitb16_pretrain.pth.tar",
        "open_clip_vitb16_pretrain.pth.tar",
        "ensemble_lora/",
    )


class DreamSimDINO(_DreamSim):
    """DreamSim by the DINO branch alone, three times as fast and on another scale."""

    kind = "dino_vitb16"
    members = ("dino_vitb16_pretrain.pth", "dino_vitb16_single_lora/")
