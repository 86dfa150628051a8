"""A tokenizer and images that other processes can make, and whose process dies once."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import torch.nn.functional as F
from PIL import Image

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.data.source import ImageSource


class Life:
    """Ends its process at a call, unless it has died before."""

    def __init__(self, grave: Path | None = None, calls: int = 0) -> None:
        self.grave, self.left = grave, calls
        self.count = 0

    def live(self) -> None:
        """Count a call."""
        self.count += 1
        self.left -= 1
        if self.grave is not None and self.left < 0 and not self.grave.exists():
            self.grave.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class MortalBlockMean(Tokenizer):
    """Means of blocks, as those of the fixture ``block_mean``."""

    def __init__(self, life: Life | None = None) -> None:
        self.latent = LatentSpec("continuous", f=4, channels=3)
        self.life = life or Life()

    def encode(self, images, noise=None):
        self.life.live()
        return Latent(3 * F.avg_pool2d(images, 4) + 5, tuple(images.shape[-2:]))

    def decode(self, latent, noise):
        self.life.live()
        return F.interpolate((latent.data - 5) / 3, scale_factor=4)


class MortalImages(ImageSource):
    """Images of an array uint8 (N, H, W, 3)."""

    def __init__(self, images, life: Life | None = None) -> None:
        self.name = "mortal"
        self.ids = tuple(f"{i:03}" for i in range(len(images)))
        self.images = images
        self.life = life or Life()

    def read(self, image_id: str) -> Image.Image:
        self.life.live()
        return Image.fromarray(self.images[int(image_id)])


CODE = """
import pickle, sys
sys.path.append(sys.argv[1])
from pathlib import Path
import torch
function, plan = pickle.loads(Path(sys.argv[2]).read_bytes())
function(plan, torch.device("cpu"))
"""


def run_elsewhere(function, plan, folder: Path) -> int:
    """Call a function in another Python; return its exit code."""
    (folder / "plan.pickle").write_bytes(pickle.dumps((function, plan)))
    arguments = [str(Path(__file__).parent), str(folder / "plan.pickle")]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, timeout=200
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode
