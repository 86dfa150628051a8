"""Damaged images, archives, tables and arrays: each image is read, or skipped by name."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import damaged, examples
from encoded_images import photo, png, write_parquet, write_tar
from forked import attempt
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssdd_bench.data.images import open_images
from ssdd_bench.data.npz import read_labels, read_moments
from ssdd_bench.errors import DataError

pytestmark = pytest.mark.slow
FORMATS = {
    "png": {},
    "jpg": {"format": "JPEG"},
    "gif": {"format": "GIF"},
    "webp": {"format": "WEBP"},
    "bmp": {"format": "BMP"},
    "tif": {"format": "TIFF"},
    "ppm": {"format": "PPM"},
}


def encode(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


GOOD = {suffix: encode(photo(0), **options) for suffix, options in FORMATS.items()}


def read_all(path: Path) -> None:
    """Read every image of a folder or file, as a run does: a bad one is skipped."""
    source = open_images(path)
    for image_id in source.ids:
        try:
            image = source.read_named(image_id)
        except DataError:
            continue
        assert image.mode == "RGB"


@pytest.mark.parametrize("suffix", FORMATS)
@examples(60)
@given(data=st.data())
def test_damaged_images(tmp_path_factory: pytest.TempPathFactory, suffix: str, data: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / f"images-{suffix}"
    folder.mkdir(exist_ok=True)
    (folder / f"a.{suffix}").write_bytes(data.draw(damaged(GOOD[suffix])))
    ending = attempt(read_all, folder)
    assert ending.is_good, ending


def archives(folder: Path) -> Iterator[tuple[str, bytes]]:
    members = {f"{i}.png": png(photo(i)) for i in range(4)}
    yield "a.tar", write_tar(folder / "a.tar", members).read_bytes()
    rows = [{"bytes": one, "path": name} for name, one in members.items()]
    yield "a.parquet", write_parquet(folder / "a.parquet", rows).read_bytes()
    pixels = np.stack([np.asarray(photo(i)) for i in range(4)])
    np.savez(folder / "a.npz", arr_0=pixels, arr_1=np.arange(4))
    yield "a.npz", (folder / "a.npz").read_bytes()
    np.savez_compressed(folder / "b.npz", arr_0=pixels, arr_1=np.arange(4))
    yield "b.npz", (folder / "b.npz").read_bytes()


@pytest.fixture(scope="module")
def good_archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return dict(archives(tmp_path_factory.mktemp("archives")))


def read_archive(path: Path) -> None:
    read_all(path)
    read_labels(path)


@pytest.mark.parametrize("name", ["a.tar", "a.parquet", "a.npz", "b.npz"])
@examples(100)
@given(data=st.data())
def test_damaged_archives(
    tmp_path_factory: pytest.TempPathFactory,
    good_archives: dict[str, bytes],
    name: str,
    data: Any,
) -> None:
    file = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    file.write_bytes(data.draw(damaged(good_archives[name])))
    ending = attempt(read_archive, file)
    assert ending.is_good, ending


MOMENTS = io.BytesIO()
np.savez(MOMENTS, mu=np.zeros(4), sigma=np.eye(4))


@examples(60)
@given(damaged(MOMENTS.getvalue()))
def test_damaged_moments(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "moments.npz"
    file.write_bytes(data)
    ending = attempt(read_moments, file)
    assert ending.is_good, ending


def png_of(width: int, height: int) -> bytes:
    """Write a PNG whose header promises a size, with one row of data."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def gif_of(width: int, height: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + b"\0\0\0\xff\xff\xff"
        + (b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;")
    )


BOMBS = {
    "png": png_of(2**31 - 1, 2**31 - 1),
    "wide.png": png_of(2**31 - 1, 1),
    "zero.png": png_of(0, 5),
    "ppm": b"P6 60000 60000 255\n" + b"\0" * 99,
    "deep.ppm": b"P6 99999999999999999999 1 65535\n",
    "negative.ppm": b"P6 -5 5 255\n",
    "gif": gif_of(65535, 65535),
    "empty.jpg": b"",
    "html.jpg": b"<!doctype html><html>404</html>",
    "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>",
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_that_promise_much(tmp_path: Path, name: str) -> None:
    """No image is left, which the run says in one line."""
    (tmp_path / f"a.{name}").write_bytes(BOMBS[name])
    ending = attempt(read_all, tmp_path)
    assert ending.is_good, ending


@pytest.mark.parametrize("name", ["a\x1b[31mred.png", "a\nb.png", "\u202egnp.png", "a'b\"c.png"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    """A damaged image of such a name is named in one printable line."""

    def read() -> None:
        open_images(tmp_path).read_named(name)

    (tmp_path / name).write_bytes(b"no image")
    ending = attempt(read)
    assert ending.kind == "refused"
    assert ending.is_good, ending


@pytest.mark.parametrize("name", ["a.parquet", "a.npz"])
def test_every_byte_of_an_index(tmp_path: Path, good_archives: dict[str, bytes], name: str) -> None:
    """Each byte at the end of the file, where its index is, is changed in turn."""
    good = good_archives[name]
    for place in range(max(len(good) - 700, 0), len(good)):
        for change in (0x01, 0x10):
            data = bytearray(good)
            data[place] ^= change
            (tmp_path / name).write_bytes(data)
            ending = attempt(read_archive, tmp_path / name)
            assert ending.is_good, (place, change, ending)
