"""Images as a network takes them."""

import numpy as np
import torch
from PIL import Image

from ssdd_bench.data.memory import as_source
from ssdd_bench.data.preprocessing import bilinear_center_crop


def sample_images(side, limit=None):
    """Yield sample images (1, 3, side, side) in [-1, 1]."""
    source = as_source("sample", limit)
    for image_id in source.ids:
        pixels = np.array(bilinear_center_crop(source.read(image_id), side))
        yield torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def resize_by_pillow(images, side):
    """Resize uint8 images (B, 3, H, W), bicubic, to an array (B, side, side, 3) of uint8."""
    pictures = (Image.fromarray(one.permute(1, 2, 0).numpy()) for one in images)
    return np.stack([np.asarray(one.resize((side, side), Image.BICUBIC)) for one in pictures])
