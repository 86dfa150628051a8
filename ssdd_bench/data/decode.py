"""Turn the bytes of any image file into 8-bit RGB, the same way for every source."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ssdd_bench.errors import DataError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif"))

MAX_PIXELS = 1 << 29
"""Largest image that is decoded, in pixels (1.6 GB as RGB); a larger one is an error."""

# Pillow suspects an attack from 89 million pixels on, which scans and panoramas exceed. Its limit
# belongs to the whole process, so it is raised but never lowered or switched on again.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)


def decode_image(source: bytes | Path) -> Image.Image:
    """Decode a whole image file to RGB; of an animation or a multi-page file the first frame.

    JPEGs are not decoded at a smaller scale, which changes the pixels of every crop.
    """
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            check_pixels(*image.size)
            return to_rgb(image)
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError:  # its own message quotes a memory address
        raise DataError("not an image file, or of an unknown format") from None
    except Image.DecompressionBombWarning:  # where the caller turned warnings into errors
        raise DataError(f"more than {MAX_PIXELS:,} pixels: make it smaller first") from None
    # Decoders answer a damaged file with whatever went wrong in them: OSError, SyntaxError,
    # ValueError, struct.error, EOFError, zlib.error, IndexError.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot decode: {reason}") from error


def check_pixels(width: int, height: int) -> None:
    """Raise ``DataError`` for more than :data:`MAX_PIXELS` pixels."""
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{width} x {height} is more than {MAX_PIXELS:,} pixels: make it smaller first"
        )


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow image to RGB, so that one image gives the same pixels everywhere.

    Grey is replicated; transparency (channel, palette entry or colour key) is composited on
    white; 16-bit grey is scaled to 8 bits by round(v / 257); other modes go through Pillow. EXIF
    orientation is ignored, as in ImageNet pipelines. Colour profiles are ignored. ``DataError``
    for a float or 32-bit image, whose range is unknown.
    """
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return _from_deep_grey(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Scale grey of 16 bits per pixel to 8; Pillow's own conversion clips it at 255."""
    if image.mode == "F":
        raise DataError("float pixels have no known range: convert the image to 8 or 16 bits")
    # Mode "I" is what Pillow makes of a 16-bit PGM and older versions of a 16-bit PNG.
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise DataError("32-bit pixels have no known range: convert the image to 8 or 16 bits")
    grey = ((values + 128) // 257).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
