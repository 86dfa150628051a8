"""Turn the bytes of any image file into 8-bit RGB, the same way for every source."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLEFORMAT,
    TiffImageFile,
)

from ssdd_bench.data.files import describe, is_failure
from ssdd_bench.errors import DataError, SourceError, reason_of

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif"))

MB: Final = 1 << 20
MAX_IMAGE_MB: Final = 256
"""Largest image that is decoded unless told otherwise, in MB as 8-bit RGB: 89 million pixels."""
STRIP_PIXELS: Final = 1 << 22
"""Pixels of a large image that are converted at a time."""
_PIXELS: Final = 1 << 29
_UNSIGNED: Final = 1
"""Format of a TIFF's samples."""
_STEPS: Final = {"L;2": 85, "L;4": 17}
"""Factor by which Pillow enlarges grey of a PNG with fewer bits."""
_ADVICE: Final = "make it smaller, or raise max_image_mb"

# Pillow suspects an attack from 89 million pixels on, by a warning. Its limit belongs to the whole
# process, so it is raised but never lowered or switched on again.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, _PIXELS)


def decode_image(source: bytes | Path, max_mb: int = MAX_IMAGE_MB) -> Image.Image:
    """Decode a whole image file to RGB; of an animation or a multi-page file the first frame.

    JPEGs are not decoded at a smaller scale, which changes the pixels of every crop.

    Args:
        source: content of a file, or its path.
        max_mb: limit of the decoded size, which is compared with the header before decoding.

    Raises:
        DataError: it is no image, is damaged, too large or does not fit into memory.
        SourceError: the disk fails.
    """
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_mb * MB // 3)
    try:
        with (
            BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file,
            Image.open(file) as image,
        ):
            check_size(*image.size, max_mb)
            return to_rgb(image)
    except DataError:
        raise
    except MemoryError:
        raise DataError("there is no memory to decode it") from None
    except UnidentifiedImageError:  # its own message quotes a memory address
        raise DataError("not an image file, or of an unknown format") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DataError(f"its pixels are more than {max_mb} MB: {_ADVICE}") from None
    # Decoders answer a damaged file with whatever went wrong in them: OSError, SyntaxError,
    # ValueError, struct.error, EOFError, zlib.error, IndexError.
    except Exception as error:
        if is_failure(error):
            raise SourceError(f"cannot read {source!s:.300}: {describe(error)}") from error
        raise DataError(f"cannot decode: {reason_of(error)}") from error


def check_size(width: int, height: int, max_mb: int = MAX_IMAGE_MB, advice: str = _ADVICE) -> None:
    """Raise ``DataError`` with ``advice`` for an image of more than so many MB as 8-bit RGB."""
    if width * height * 3 > max_mb * MB:
        size = width * height * 3 / MB
        raise DataError(
            f"{width} x {height} pixels are {size:,.0f} MB, more than {max_mb}: {advice}"
        )


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file; ``DataError`` for a pipe, a socket or a device, which could block."""
    # Without O_NONBLOCK to open a pipe waits for a writer.
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise DataError("not a regular file")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow image to RGB, so that one image gives the same pixels everywhere.

    Grey is replicated; transparency (channel, palette entry or colour key) is composited on white;
    grey of 16 bits is scaled to 8 by round(v / 257), and that of 12 bits likewise; other modes go
    through Pillow, which keeps the upper 8 of 16 bits, so a colour key is compared by those. EXIF
    orientation is ignored, as in ImageNet pipelines, except that of TIFF, which Pillow applies as
    it decodes. Colour profiles are ignored. ``DataError`` for pixels without a known range: of
    floats, and of integers that the file stores with a sign or in 32 bits. An image of 32 bits in
    memory is taken for 16-bit grey if its values fit.
    """
    if image.mode == "F":
        raise DataError("float pixels have no known range: convert the image to 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        white, black = _white_of(image), 0
        if isinstance(image, TiffImageFile) and not image.tag_v2.get(PHOTOMETRIC_INTERPRETATION, 1):
            white, black = black, white  # Pillow turns it over for 8 bits only
        return _in_strips(image, partial(_from_deep_grey, white=white, black=black))
    if image.has_transparency_data:
        return _in_strips(image, partial(_on_white, key=_colour_key(image)))
    return image.convert("RGB")


def _white_of(image: Image.Image) -> int:
    """Return the value of white in an image of deep grey, by the bits that its file declares.

    Raises:
        DataError: it is unknown.
    """
    if isinstance(image, TiffImageFile):
        bits, kind = (image.tag_v2.get(tag, (1,))[0] for tag in (BITSPERSAMPLE, SAMPLEFORMAT))
        known = bits <= 16 and kind == _UNSIGNED
        white, what = 2**bits - 1, f"{bits}-bit pixels" if bits > 16 else "pixels with a sign"
    elif image.mode == "I":  # as Pillow decodes a 16-bit PGM, and its older versions a PNG
        low, high = cast(tuple[int, int], image.getextrema())
        known = image.format in (None, "PNG", "PPM") and low >= 0 and high <= 65535
        white, what = 65535, "32-bit pixels"
    else:
        known, white, what = True, 65535, ""
    if not known:
        raise DataError(f"{what} have no known range: convert the image to 8 or 16 bits")
    return white


def _colour_key(image: Image.Image) -> Any:
    """Return the key of a PNG as a colour that Pillow decodes; its own is that in the file."""
    key = image.info.get("transparency")
    tiles = getattr(image, "tile", ())  # none if the image is decoded already
    stored = tiles[0][3] if tiles else ""
    if isinstance(key, tuple) and (stored == "RGB;16B" or max(key) > 255):
        return tuple(one >> 8 for one in key)
    return key * _STEPS.get(stored, 1) if isinstance(key, int) else key


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert an image in a few rows at a time, since what ``convert`` needs meanwhile is large."""
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        return convert(image)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(convert(strip), (0, top))
    return whole


def _on_white(image: Image.Image, key: Any) -> Image.Image:
    if key != image.info.get("transparency"):
        image = image.copy()
        image.info["transparency"] = key
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


def _from_deep_grey(image: Image.Image, white: int, black: int) -> Image.Image:
    """Scale grey of more than 8 bits per pixel to 8; Pillow's own conversion clips it at 255."""
    values = np.asarray(image).astype(np.int64)
    most = abs(white - black)
    grey = ((abs(values - black) * 255 + most // 2) // most).astype(np.uint8)
    grey[values == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey).convert("RGB")
