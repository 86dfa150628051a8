import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ssdd_bench.data import decode
from ssdd_bench.data.decode import to_rgb
from ssdd_bench.data.images import open_images
from ssdd_bench.errors import DataError


def photo(seed: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_parquet(path: Path, values: list, rows_per_group: int = 2, column: str = "image") -> Path:
    table = pa.table({column: values, "label": list(range(len(values)))})
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


def assert_pixels(image: Image.Image, expected: Image.Image) -> None:
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


# Folders


def test_folder_is_recursive_and_its_ids_are_sorted_posix_paths(tmp_path):
    for i, name in enumerate(["b/2.PNG", "a/deep/1.png", "10.png", "9.png"]):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        photo(i).save(file)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._9.png").write_text("left by another system")
    (tmp_path / ".cache").mkdir()
    photo(9).save(tmp_path / ".cache" / "thumb.png")

    source = open_images(tmp_path)

    assert source.ids == ("10.png", "9.png", "a/deep/1.png", "b/2.PNG")
    assert source.name == tmp_path.name
    assert_pixels(source.read("b/2.PNG"), photo(0))
    assert_pixels(source.read("a/deep/1.png"), photo(1))


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp", "bmp", "tif", "tiff", "ppm"])
def test_every_suffix_is_read(tmp_path, suffix):
    photo(0).save(tmp_path / f"x.{suffix}", lossless=suffix == "webp")
    source = open_images(str(tmp_path))
    image = source.read(source.ids[0])
    assert image.size == (12, 10)
    if suffix not in ("jpg", "JPEG"):
        assert_pixels(image, photo(0))


def test_folder_follows_links_but_not_in_circles(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "elsewhere").mkdir()
    photo(0).save(tmp_path / "elsewhere" / "x.png")
    (tmp_path / "set" / "class").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    assert open_images(tmp_path / "set").ids == ("class/x.png",)


def test_one_image_file(tmp_path):
    photo(3).save(tmp_path / "one.png")
    photo(4).save(tmp_path / "two.png")
    source = open_images(tmp_path / "one.png")
    assert source.ids == ("one.png",)
    assert_pixels(source.read("one.png"), photo(3))


def test_current_folder_has_a_name(tmp_path, monkeypatch):
    photo(0).save(tmp_path / "x.png")
    monkeypatch.chdir(tmp_path)
    assert open_images(".").name == tmp_path.name


# Limits


def test_limit_is_a_fixed_subset_in_sorted_order(tmp_path):
    for i in range(40):
        photo(i, (2, 2)).save(tmp_path / f"class{i // 20}_{i:02d}.png")
    everything = open_images(tmp_path).ids
    ten = open_images(tmp_path, limit=10).ids
    assert list(ten) == sorted(ten)
    assert set(open_images(tmp_path, limit=5).ids) < set(ten) < set(everything)
    # The first ten of the sorted list would all be of one class.
    assert {name[:6] for name in ten} == {"class0", "class1"}
    assert open_images(tmp_path, limit=10).ids == ten
    assert open_images(tmp_path, limit=99).ids == everything
    assert_pixels(open_images(tmp_path, limit=10).read(ten[0]), photo(int(ten[0][-6:-4]), (2, 2)))


def test_limit_takes_the_smallest_digests(tmp_path):
    for name in "abcdef":
        photo(0, (2, 2)).save(tmp_path / f"{name}.png")
    digest = {f"{n}.png": hashlib.sha256(f"{n}.png".encode()).hexdigest() for n in "abcdef"}
    expected = sorted(sorted(digest, key=digest.__getitem__)[:2])
    assert list(open_images(tmp_path, limit=2).ids) == expected


@pytest.mark.parametrize("limit", [0, -3])
def test_limit_below_one_is_refused(tmp_path, limit):
    photo(0).save(tmp_path / "x.png")
    with pytest.raises(DataError, match="give 1 or more"):
        open_images(tmp_path, limit=limit)


# Shards


def test_tar_reads_members_in_any_order(tmp_path):
    members = {f"./c/{i}.png": png(photo(i)) for i in (2, 0, 1)}
    path = write_tar(tmp_path / "train.tar", {**members, "c/0.cls": b"7", "c/._0.png": b"junk"})
    source = open_images(path)
    assert source.ids == ("c/0.png", "c/1.png", "c/2.png")
    assert source.name == "train"
    for i in (2, 0, 1):
        assert_pixels(source.read(f"c/{i}.png"), photo(i))


def test_equal_members_of_two_shards_do_not_collide(tmp_path):
    (tmp_path / "val").mkdir()
    write_tar(tmp_path / "000.tar", {"x.png": png(photo(0))})
    write_tar(tmp_path / "001.tar", {"x.png": png(photo(1))})
    write_tar(tmp_path / "val" / "000.tar", {"x.png": png(photo(2))})
    source = open_images(tmp_path)
    assert source.ids == ("000/x.png", "001/x.png", "val/000/x.png")
    for i, image_id in enumerate(source.ids):
        assert_pixels(source.read(image_id), photo(i))


def test_later_member_of_one_path_counts(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"x.png": png(photo(0)), "./x.png": png(photo(1))})
    source = open_images(path)
    assert source.ids == ("x.png",)
    assert_pixels(source.read("x.png"), photo(1))


def test_compressed_tar_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"x.png": png(photo(0))}, mode="w:gz")
    with pytest.raises(DataError, match="uncompressed"):
        open_images(path)


# Arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_stored_or_compressed(tmp_path, save):
    images = np.random.default_rng(0).integers(0, 256, (11, 4, 5, 3), dtype=np.uint8)
    save(tmp_path / "samples.npz", images, mu=np.zeros(3))
    source = open_images(tmp_path / "samples.npz")
    assert source.ids[:2] == ("000000", "000001")
    assert len(source) == 11
    for i in (10, 0, 4):
        assert_pixels(source.read(source.ids[i]), Image.fromarray(images[i]))


def test_stored_npz_is_mapped_not_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", np.zeros((3, 4, 4, 3), np.uint8))
    assert isinstance(open_images(tmp_path / "x.npz")._images, np.memmap)


def test_npz_in_column_order(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", np.asfortranarray(images))
    assert_pixels(open_images(tmp_path / "x.npz").read("000002"), Image.fromarray(images[2]))


MOMENTS = {"mu": np.zeros(3), "sigma": np.eye(3), "mu_s": np.zeros(2), "sigma_s": np.eye(2)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": np.zeros(3)}, "no array arr_0 .* holds: mu"),
        (MOMENTS, r"statistics \(mu, sigma\).* give images"),
        (MOMENTS | {"arr_0": np.zeros((2, 4, 4, 3), np.uint8)}, r"statistics \(mu, sigma\)"),
        ({"arr_0": np.zeros((2, 4, 4, 3))}, "float64"),
        ({"arr_0": np.zeros((2, 3, 4, 4), np.uint8)}, r"shape \(N, H, W, 3\)"),
        ({"arr_0": np.zeros((0, 4, 4, 3), np.uint8)}, "no images"),
        ({"arr_0": np.array([None])}, "Object arrays"),
    ],
)
def test_npz_of_other_things_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_images(tmp_path / "x.npz")


def test_a_damaged_npz_is_not_taken_for_a_pickle(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK, and no more")
    with pytest.raises(DataError, match=r"x\.npz as an npz file: File is not a zip file"):
        open_images(tmp_path / "x.npz")


# Tables


def test_parquet_as_hugging_face_stores_it(tmp_path):
    values = [{"bytes": png(photo(i)), "path": "same.png"} for i in range(5)]
    source = open_images(write_parquet(tmp_path / "train.parquet", values))
    assert source.ids == ("000000", "000001", "000002", "000003", "000004")
    for i in (4, 0, 1, 2, 3):
        assert_pixels(source.read(f"00000{i}"), photo(i))


def test_parquet_keeps_few_row_groups(tmp_path):
    values = [png(photo(i)) for i in range(8)]
    source = open_images(write_parquet(tmp_path / "x.parquet", values, column="jpeg"))
    for image_id in source.ids:
        source.read(image_id)
    assert source._group.cache_info().currsize == 2  # of four


def test_folder_of_parquet_files(tmp_path):
    for shard in range(2):
        write_parquet(tmp_path / f"s{shard}.parquet", [png(photo(10 * shard + i)) for i in (0, 1)])
    source = open_images(tmp_path)
    assert source.ids == ("s0/000000", "s0/000001", "s1/000000", "s1/000001")
    assert_pixels(source.read("s1/000001"), photo(11))


def test_parquet_row_without_bytes_is_an_error_of_that_row(tmp_path):
    values = [{"bytes": png(photo(0)), "path": "a"}, {"bytes": None, "path": "b"}]
    source = open_images(write_parquet(tmp_path / "x.parquet", values))
    assert_pixels(source.read("000000"), photo(0))
    with pytest.raises(DataError, match="no bytes"):
        source.read("000001")


def test_parquet_without_images_names_its_columns(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="text, label"):
        open_images(tmp_path / "x.parquet")


# What cannot be opened


def test_missing_path(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        open_images(tmp_path / "absent")


def test_folder_without_images(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(DataError, match="no images"):
        open_images(tmp_path)


def test_unknown_kind(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(DataError, match="cannot tell"):
        open_images(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["x.tar", "x.npz", "x.parquet"])
def test_damaged_archives(tmp_path, name):
    (tmp_path / name).write_bytes(b"not what the name says" * 100)
    with pytest.raises(DataError, match="cannot read"):
        open_images(tmp_path / name)


def test_tar_without_images(tmp_path):
    with pytest.raises(DataError, match="no images"):
        open_images(write_tar(tmp_path / "x.tar", {"a.txt": b"text"}))


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


def test_large_scans_are_read_and_absurd_sizes_are_not(tmp_path, monkeypatch):
    assert Image.MAX_IMAGE_PIXELS is None or Image.MAX_IMAGE_PIXELS >= decode.MAX_PIXELS
    scan = Image.new("1", (12_000, 9_000))  # Pillow's own default warns above 89 million
    scan.save(tmp_path / "scan.png")
    monkeypatch.setattr(decode, "to_rgb", lambda image: image)
    assert decode.decode_image(tmp_path / "scan.png").size == (12_000, 9_000)
    monkeypatch.setattr(decode, "MAX_PIXELS", 10_000)
    with pytest.raises(DataError, match="make it smaller"):
        decode.decode_image(tmp_path / "scan.png")


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
    assert_pixels(reopened(image, "PNG", exif=exif), image)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    seen = reopened(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(seen)[0, 0].tolist() == [255, 0, 0]


def test_to_rgb_result_is_independent_of_the_file(tmp_path):
    photo(0).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        rgb = to_rgb(image)
    assert_pixels(rgb, photo(0))
