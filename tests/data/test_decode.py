"""Limits of what is decoded, and files that are no regular ones."""

import errno
import io
import os
import struct
import zlib

import numpy as np
import pytest
from encoded_images import assert_pixels, photo
from PIL import Image

from ssdd_bench.data import decode
from ssdd_bench.data.decode import MAX_IMAGE_MB, check_size, decode_image, to_rgb
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, SourceError


def load(source: ImageSource) -> tuple[int, dict[str, str]]:
    """Return the number of images that can be used, and the ids and reasons of the others."""
    batches = list(ImageLoader(source, 32, "adm", 2))
    return sum(map(len, batches)), {k: v for one in batches for k, v in one.skipped.items()}


def png_header(width: int, height: int) -> bytes:
    """A PNG of which there is little more than the header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def ppm_header(width: int, height: int) -> bytes:
    return f"P6 {width} {height} 255\n".encode()


def gif(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (4, 4)).save(buffer, "GIF")
    data = bytearray(buffer.getvalue())
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


BOMBS = {
    "png": png_header(20_000, 20_000),
    "huge.png": png_header(2**30, 2**30),
    "ppm": ppm_header(20_000, 20_000),
    "huge.ppm": ppm_header(10**9, 10**9),
    "gif": gif(60_000, 60_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_size_over_the_limit_is_refused_by_the_header(name, monkeypatch):
    monkeypatch.setattr(decode, "to_rgb", lambda image: pytest.fail("was decoded"))
    with pytest.raises(DataError, match="max_image_mb"):
        decode_image(BOMBS[name])


def test_the_limit_is_89_million_pixels_and_can_be_changed():
    check_size(89_478_485, 1)
    with pytest.raises(DataError, match=r"1 x 89478486 pixels are 256 MB, more than 256"):
        check_size(1, 89_478_486)
    buffer = io.BytesIO()
    Image.new("L", (700, 500)).save(buffer, "PNG")
    assert decode_image(buffer.getvalue(), max_mb=2).size == (700, 500)
    with pytest.raises(DataError, match="more than 1:"):
        decode_image(buffer.getvalue(), max_mb=1)
    assert MAX_IMAGE_MB == 256


def test_pillows_own_limit_is_raised_to_ours_and_never_lowered(monkeypatch):
    data = io.BytesIO()
    Image.new("L", (30, 20)).save(data, "PNG")  # above twice its limit Pillow refuses an image
    for before, limit, after in (
        (100, 1, (1 << 20) // 3),
        (100, 256, 89_478_485),
        (10**9, 256, 10**9),
        (None, 256, None),
    ):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", before)
        assert decode_image(data.getvalue(), limit).size == (30, 20)
        assert after == Image.MAX_IMAGE_PIXELS


def test_a_bad_image_is_skipped_by_name_and_the_limit_is_the_users(tmp_path):
    (tmp_path / "bomb.png").write_bytes(BOMBS["png"])
    Image.new("RGB", (800, 600)).save(tmp_path / "large.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "small.png")
    for limit, skipped in ((256, {"bomb.png"}), (1, {"bomb.png", "large.png"})):
        count, reasons = load(open_images(tmp_path, max_image_mb=limit))
        assert count == 3 - len(skipped)
        assert reasons.keys() == skipped
        assert f"more than {limit}" in reasons["bomb.png"]


def test_no_memory_is_an_error_of_the_image(monkeypatch):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")

    def no_memory(image):
        raise MemoryError

    monkeypatch.setattr(decode, "to_rgb", no_memory)
    with pytest.raises(DataError, match="no memory"):
        decode_image(buffer.getvalue())


def test_strips_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    rgba = Image.fromarray(rng.integers(0, 256, (50, 30, 4), dtype=np.uint8), "RGBA")
    palette = Image.fromarray(rng.integers(0, 256, (50, 30, 3), dtype=np.uint8)).quantize(16)
    palette.info["transparency"] = 3
    deep = Image.fromarray(rng.integers(0, 65536, (50, 30), dtype=np.uint16))
    wide = Image.fromarray(rng.integers(0, 65536, (50, 30), dtype=np.int32), "I")
    keyed = Image.new("RGB", (30, 50), (1, 2, 3))
    keyed.info["transparency"] = (1, 2, 3)
    key = deep.copy()
    key.info["transparency"] = deep.getpixel((0, 0))
    for image in (rgba, palette, deep, wide, keyed, key):
        whole = to_rgb(image).tobytes()
        for pixels in (1, 7 * 30, 49 * 30):
            monkeypatch.setattr(decode, "STRIP_PIXELS", pixels)
            assert to_rgb(image).tobytes() == whole
        monkeypatch.undo()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_skipped_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    Image.new("RGB", (40, 40)).save(tmp_path / "small.png")
    count, reasons = load(open_images(tmp_path))
    assert count == 1
    assert reasons["pipe.jpg"] == reasons["device.png"] == "not a regular file"
    assert reasons.keys() == {"pipe.jpg", "device.png", "gone.png"}
    for suffix in ("jpg", "tar", "npz", "parquet"):
        path = tmp_path / f"alone.{suffix}"
        os.mkfifo(path)
        with pytest.raises(DataError, match="not a regular file"):
            open_images(path)
        if suffix != "npz":
            with pytest.raises(DataError, match="not a regular file"):
                open_images(f"{tmp_path}/alon[e].{suffix}").read(f"alone.{suffix}")


def test_a_disk_that_fails_is_not_an_error_of_the_image(tmp_path, monkeypatch):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    source = open_images(tmp_path)

    def fail(*args):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(SourceError, match=r"a\.png.*Too many"):
        source.read("a.png")


@pytest.mark.parametrize("keep", [0, 20, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_truncated_files_are_errors_without_a_traceback(kind, keep):
    buffer = io.BytesIO()
    photo(0, (64, 64)).save(buffer, kind)
    data = buffer.getvalue()
    damaged = data[: int(keep * len(data)) if keep < 1 else keep]
    with pytest.raises(DataError) as caught:
        decode.decode_image(damaged)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


# Pixel formats


def reopened(image: Image.Image, kind: str = "PNG", **options) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return decode.decode_image(buffer.getvalue())


def test_grey_is_replicated():
    grey = photo(0).convert("L")
    assert_pixels(reopened(grey), Image.merge("RGB", [grey] * 3))


def test_one_bit_is_black_and_white():
    bits = Image.fromarray(np.array([[True, False], [False, True]]))
    assert np.unique(np.asarray(reopened(bits))).tolist() == [0, 255]


def on_white(colour: float, alpha: int) -> float:
    return colour * alpha / 255 + 255 * (255 - alpha) / 255


@pytest.mark.parametrize("alpha", [0, 1, 128, 254, 255])
def test_alpha_is_composited_on_white(alpha):
    rgba = Image.new("RGBA", (4, 4), (200, 100, 0, alpha))
    expected = [on_white(c, alpha) for c in (200, 100, 0)]
    assert np.abs(np.asarray(reopened(rgba))[0, 0] - expected).max() <= 0.51
    grey = Image.new("LA", (4, 4), (60, alpha))
    assert np.abs(np.asarray(reopened(grey))[0, 0] - on_white(60, alpha)).max() <= 0.51


def test_transparent_palette_entry_and_colour_key_become_white():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putpixel((0, 0), 2)
    seen = np.asarray(reopened(palette, transparency=1))
    assert seen[1, 1].tolist() == [255, 255, 255]
    assert seen[0, 0].tolist() == [0, 0, 255]
    # Half-transparent entries too, which Pillow keeps as bytes.
    seen = np.asarray(reopened(palette, transparency=bytes([255, 0, 128])))
    assert seen[1, 1].tolist() == [255, 255, 255]
    assert seen[0, 0].tolist() == [127, 127, 255]
    keyed = reopened(Image.new("RGB", (4, 4), (9, 8, 7)), transparency=(9, 8, 7))
    assert np.asarray(keyed).min() == 255


def test_opaque_palette():
    palette = photo(0).quantize(16)
    assert_pixels(reopened(palette), palette.convert("RGB"))


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 128, 129, 257, 32767, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    seen = np.asarray(reopened(Image.fromarray(values)))[0, :, 0]
    assert seen.tolist() == [0, 0, 1, 1, 127, 128, 254, 255, 255]
    # The variant that clips turns everything above 255 to white.
    assert np.asarray(Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)))[0, 4] == 255


def test_every_8_bit_level_survives_16_bits():
    levels = np.arange(256, dtype=np.uint16)[None] * 257
    assert np.asarray(reopened(Image.fromarray(levels)))[0, :, 0].tolist() == list(range(256))


def test_sixteen_bit_pgm_of_mode_i():
    data = b"P5 3 1 65535\n" + np.array([0, 32768, 65535], ">u2").tobytes()
    assert np.asarray(decode.decode_image(data))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_known_range_are_refused(mode):
    image = Image.new(mode, (2, 2), 70_000)
    with pytest.raises(DataError, match="no known range"):
        to_rgb(image)


def test_cmyk():
    cmyk = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    seen = np.asarray(reopened(cmyk, "JPEG", quality=100))
    assert np.abs(seen[0, 0].astype(int) - [0, 255, 255]).max() <= 2


def test_exif_orientation_is_ignored():
    image = photo(0, (6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for kind in ("PNG", "WEBP"):
        assert_pixels(reopened(image, kind, exif=exif, lossless=True), image)
    assert reopened(image, "JPEG", exif=exif).size == (6, 4)


def test_pillow_applies_the_orientation_of_a_tiff():
    image = photo(0, (6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = image.transpose(Image.Transpose.ROTATE_270)
    assert_pixels(reopened(image, "TIFF", exif=exif), upright)


def test_values_of_32_bits_are_of_unknown_range_in_a_file_and_of_16_bits_in_memory():
    image = Image.fromarray(np.array([[0, 255, 257, 65535]], np.int32))
    assert np.asarray(to_rgb(image))[0, :, 0].tolist() == [0, 1, 1, 255]
    with pytest.raises(DataError, match=r"^32-bit pixels have no known range"):
        reopened(image, "TIFF")


def tiff(bits: int, sample_format: int, row: bytes, zero_is_black: int = 1) -> bytes:
    """A grey TIFF of four pixels."""
    entries = {256: 4, 257: 1, 258: bits, 259: 1, 262: zero_is_black, 273: 8, 277: 1,
               278: 1, 279: len(row), 339: sample_format}  # fmt: skip
    parts = [struct.pack("<HHIHxx", tag, 3, 1, value) for tag, value in entries.items()]
    row += b"\0" * (len(row) % 2)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(row)) + row
    return start + struct.pack("<H", len(parts)) + b"".join(parts) + bytes(4)


def test_a_tiff_is_read_by_the_bits_that_it_declares():
    twelve = bytes.fromhex("000010800fff")
    seen = decode_image(tiff(12, 1, twelve))
    assert np.asarray(seen)[0, :, 0].tolist() == [0, 1, 128, 255]
    sixteen = np.array([0, 257, 32768, 32767], "<u2").tobytes()
    seen = decode_image(tiff(16, 1, sixteen))
    assert np.asarray(seen)[0, :, 0].tolist() == [0, 1, 128, 127]
    with pytest.raises(DataError, match=r"^pixels with a sign have no known range"):
        decode_image(tiff(16, 2, np.array([0, 1, 2, 3], "<i2").tobytes()))


@pytest.mark.parametrize(
    ("bits", "row"),
    [(8, bytes([0, 1, 128, 255])), (16, np.array([0, 257, 32896, 65535], "<u2").tobytes())],
)
def test_a_tiff_may_count_from_white(bits: int, row: bytes):
    seen = decode_image(tiff(bits, 1, row, zero_is_black=0))
    assert np.asarray(seen)[0, :, 0].tolist() == [255, 254, 127, 0]


def keyed_png(bits: int, colour: int, key: bytes, row: bytes) -> bytes:
    """A PNG of one row with a colour key."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    width = len(row) * 8 // bits // (3 if colour else 1)
    size = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" + row))
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size)
    return header + chunk(b"tRNS", key) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("bits", "row", "key", "expected"),
    [
        (1, "55", 1, [0, 255] * 4),
        (1, "55", 0, [255] * 8),
        (2, "1b", 1, [0, 255, 170, 255]),
        (4, "01ef", 14, [0, 17, 255, 255]),
        (8, "000102ff", 2, [0, 1, 255, 255]),
        (16, "0000 0101 8000 8001 ffff", 0x8000, [0, 1, 255, 128, 255]),
        (16, "0000 0101 8000 8001 ffff", 0, [255, 1, 128, 128, 255]),
    ],
)
def test_a_colour_key_of_grey_of_any_depth_becomes_white(bits, row, key, expected):
    data = keyed_png(bits, 0, struct.pack(">H", key), bytes.fromhex(row))
    assert np.asarray(decode_image(data))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("key", [(0xFFFF, 0, 0), (0xC8, 0, 0), (0x102, 0x304, 0x506)])
def test_a_colour_key_of_16_bits_becomes_white(key):
    pixels = np.array([(0xFFFF, 0, 0), (0xC8, 0, 0), (0x102, 0x304, 0x506), (0xC800, 0, 0)], ">u2")
    data = keyed_png(16, 2, struct.pack(">3H", *key), pixels.tobytes())
    expected = [(one >> 8).tolist() for one in pixels]
    expected[[*map(tuple, pixels.tolist())].index(key)] = [255] * 3
    assert np.asarray(decode_image(data))[0].tolist() == expected
    with Image.open(io.BytesIO(data)) as image:
        before = dict(image.info)
        to_rgb(image)
        assert image.info == before


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    seen = reopened(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(seen)[0, 0].tolist() == [255, 0, 0]


def test_to_rgb_result_is_independent_of_the_file(tmp_path):
    photo(0).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        rgb = to_rgb(image)
    assert_pixels(rgb, photo(0))
