"""Tar, Parquet and npz files: whole ones, damaged ones and hostile ones."""

import contextlib
import errno
import io
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encoded_images import assert_pixels, photo, png, write_parquet, write_tar
from PIL import Image

from ssdd_bench.data import archives, pieces
from ssdd_bench.data import source as source_module
from ssdd_bench.data.files import LocalFile
from ssdd_bench.data.images import open_images
from ssdd_bench.errors import DataError, SourceError

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


def test_the_size_of_an_image_in_a_shard_is_limited(tmp_path):
    large = png(Image.new("RGB", (600, 600)))  # 1.03 MB of pixels in 2 kB
    for path in (
        write_tar(tmp_path / "x.tar", {"large.png": large, "small.png": png(photo(0))}),
        write_parquet(tmp_path / "x.parquet", [large, png(photo(0))], column="jpeg"),
    ):
        source = open_images(path, max_image_mb=1)
        assert_pixels(source.read(source.ids[1]), photo(0))
        with pytest.raises(DataError, match="600 x 600"):
            source.read(source.ids[0])


def test_files_without_images_are_counted(tmp_path):
    for count, name in ((1, r"0\.tar$"), (2, r"\.tar and 1 more"), (3, r"\.tar and 2 more")):
        write_tar(tmp_path / f"{count - 1}.tar", {"x.txt": b""})
        with pytest.raises(DataError, match=name):
            open_images(tmp_path)


# Arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_stored_or_compressed(tmp_path, save):
    images = np.random.default_rng(0).integers(0, 256, (11, 4, 5, 3), dtype=np.uint8)
    save(tmp_path / "samples.npz", images, mu=np.zeros(3))
    source = open_images(tmp_path / "samples.npz")
    assert source.ids[:2] == ("000000", "000001")
    assert len(source) == 11
    assert source.name == "samples"
    for i in (10, 0, 4):
        assert_pixels(source.read(source.ids[i]), Image.fromarray(images[i]))


def test_stored_npz_is_mapped_not_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", np.zeros((3, 4, 4, 3), np.uint8))
    assert isinstance(open_images(tmp_path / "x.npz")._images, np.memmap)


def test_the_size_of_an_image_in_an_npz_is_limited(tmp_path):
    for shape in ((1, 2, 2000, 3), (1, 2000, 2, 3), (1, 600, 600, 3)):
        np.savez(tmp_path / "x.npz", np.zeros(shape, np.uint8))
        if max(shape) == 2000:  # 12 kB
            assert len(open_images(tmp_path / "x.npz", max_image_mb=1)) == 1
        else:  # 1.08 MB
            with pytest.raises(DataError, match="600 x 600"):
                open_images(tmp_path / "x.npz", max_image_mb=1)


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
        ({"arr_0": np.array([None])}, "holds objects"),
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


# Damaged and hostile tars


def tar_of(count: int) -> bytearray:
    """Images ``0.png`` and so on in a tar; its bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for i in range(count):
            data = png(photo(i))
            info = tarfile.TarInfo(f"{i}.png")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return bytearray(buffer.getvalue())


def headers(data: bytes | bytearray) -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [member.offset for member in tar]


def with_size(data: bytearray, start: int, size: bytes) -> None:
    """Write a size into a header, and the checksum that goes with it."""
    data[start + 124 : start + 136] = size.ljust(12, b"\0")
    data[start + 148 : start + 156] = b" " * 8
    total = sum(data[start : start + 512])
    data[start + 148 : start + 156] = f"{total:06o}\0 ".encode()


@pytest.mark.parametrize("member", [1, 2, 4])
@pytest.mark.parametrize("place", [0, 130, 150])
def test_a_damaged_header_names_the_member_before(tmp_path, member, place):
    data = tar_of(5)
    data[headers(data)[member] + place] ^= 0x15
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match=rf"after member '{member - 1}\.png' \(bad header"):
        open_images(tmp_path / "x.tar")


@pytest.mark.parametrize("keep", ["member", "half a header", "a byte less", "in the data"])
def test_a_missing_end_names_the_member_before(tmp_path, keep):
    data = tar_of(5)
    start = headers(data)[3]
    cut = {
        "member": start,
        "half a header": start + 256,
        "a byte less": start - 1,
        "in the data": headers(data)[2] + 520,
    }[keep]
    (tmp_path / "x.tar").write_bytes(data[:cut])
    with pytest.raises(DataError, match=r"after member '2\.png'"):
        open_images(tmp_path / "x.tar")


def test_one_block_of_zeros_is_an_end(tmp_path):
    data = tar_of(3)
    end = len(bytes(data).rstrip(b"\0"))
    end += -end % 512
    (tmp_path / "x.tar").write_bytes(data[: end + 512])
    assert len(open_images(tmp_path / "x.tar")) == 3


def test_what_follows_the_end_is_not_left_out_silently(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_of(2) + tar_of(3))
    with pytest.raises(DataError, match="follows its end"):
        open_images(tmp_path / "x.tar")


@pytest.mark.parametrize(
    "size", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777", b"-1", b"x"]
)
def test_an_impossible_size_is_one_line(tmp_path, size):
    data = tar_of(3)
    with_size(data, headers(data)[1], size)
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.tar") as caught:
        open_images(tmp_path / "x.tar")
    assert "\n" not in str(caught.value)


def test_a_header_of_gigabytes_is_not_read(tmp_path):
    for kind in (b"x", b"L", b"g"):
        data = tar_of(2)
        start = headers(data)[1]
        data[start + 156 : start + 157] = kind
        with_size(data, start, b"77777777777")
        (tmp_path / "x.tar").write_bytes(data)
        with pytest.raises(DataError, match=r"(a|bad|empty) header"):
            open_images(tmp_path / "x.tar")


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_tar_is_whole_or_an_error(tmp_path, seed):
    """Any byte of any header may be wrong."""
    rng = np.random.default_rng(seed)
    data = tar_of(6)
    for start in rng.choice(headers(data), 2, replace=False).tolist():
        data[start + int(rng.integers(0, 512))] = int(rng.integers(0, 256))
    (tmp_path / "x.tar").write_bytes(data)
    with contextlib.suppress(DataError):
        assert len(open_images(tmp_path / "x.tar")) == 6


def index_both_ways(path, monkeypatch):
    """Index a tar with and without our own reading of plain headers: members or the error, each."""
    found = []
    for reader in (archives.read_plain, lambda header: None):
        with monkeypatch.context() as patch:
            patch.setattr(archives, "read_plain", reader)
            try:
                index = archives._index_tar(LocalFile.find(path))
                numbers = {name: one.tolist() for name, one in index.numbers.items()}
                found.append((index.texts, numbers))
            except DataError as error:
                found.append(str(error))
    return found


def mixed_tar(kind):
    """Members of every kind, among plain ones, in one of tarfile's formats; its bytes."""
    buffer = io.BytesIO()
    odd = ["a/.b.png", "x.png/.", "c.png.", "d.PNG", "e.txt"]
    odd += ["f/" * 60 + "f.png", "ü/" * 40 + "g.jpg", "\udcff.png"]
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name in ["0.png", *odd, *(f"{i}.png" for i in range(1, 4)), "0.png", "p" * 96 + ".png"]:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(b"x" * len(name)))
        for flag in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CONTTYPE, b"\0"):
            info = tarfile.TarInfo(f"kind {flag[0]}.png" + "/" * (flag == b"\0"))
            info.type, info.linkname = flag, "0.png"
            tar.addfile(info)
    return bytearray(buffer.getvalue())


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_tarfile_finds(tmp_path, monkeypatch, kind):
    data = mixed_tar(kind)
    (tmp_path / "x.tar").write_bytes(data)
    ours, tarfiles = index_both_ways(tmp_path / "x.tar", monkeypatch)
    assert ours == tarfiles
    names = {f"{i}.png" for i in range(4)} | {"x.png", "d.PNG", "p" * 96 + ".png"}
    names |= {"f/" * 60 + "f.png", "ü/" * 40 + "g.jpg", "\udcff.png"}
    names.add(f"kind {tarfile.CONTTYPE[0]}.png")  # folders and links are no images
    assert set(ours[0]) == names
    assert archives.read_plain(bytes(data[:512])) == ("0.png", 5)  # it was not left to tarfile


@pytest.mark.medium
def test_headers_are_refused_as_tarfile_refuses_them(tmp_path, monkeypatch):
    """Any byte of any header may be wrong, with a checksum that is right or not."""
    whole, rng, refused = tar_of(5), np.random.default_rng(0), 0
    for turn in range(150):
        data = bytearray(whole)
        start, place = headers(data)[int(rng.integers(5))], int(rng.integers(512))
        data[start + place] = int(rng.choice([0, 32, 47, 48, 55, 56, 76, 120, 128, 255]))
        if turn % 3:
            with_size(data, start, bytes(data[start + 124 : start + 136]))
        end = int(rng.integers(len(data))) if turn < 30 else len(data)
        (tmp_path / "x.tar").write_bytes(data[:end])
        ours, tarfiles = index_both_ways(tmp_path / "x.tar", monkeypatch)
        assert ours == tarfiles, (turn, start, place)
        refused += isinstance(ours, str)
    assert 30 < refused < 120


def test_pax_headers_of_all_members_hold_for_plain_ones(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"size": "3"}) as tar:
        for name in ("a.png", "b.png"):
            tar.addfile(tarfile.TarInfo(name))
    (tmp_path / "x.tar").write_bytes(buffer.getvalue())
    ours, tarfiles = index_both_ways(tmp_path / "x.tar", monkeypatch)
    assert ours == tarfiles


def test_a_tar_is_indexed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "a.tar", {"x.png": png(photo(0))})
    assert open_images(path).ids == ("x.png",)
    monkeypatch.setattr(archives, "_index_tar", lambda shard: pytest.fail("was read again"))
    source = open_images(path)
    assert_pixels(source.read("x.png"), photo(0))
    monkeypatch.undo()
    write_tar(path, {"y.png": png(photo(1)), "z.png": png(photo(2))})
    source = open_images(path)
    assert source.ids == ("y.png", "z.png")
    assert_pixels(source.read("z.png"), photo(2))


def test_an_index_holds_for_the_names_and_format_it_was_made_for(tmp_path, monkeypatch):
    """Suffixes of images are in its key, and so is the version of each kind of index."""
    path = write_tar(tmp_path / "a.tar", {"x.png": png(photo(0)), "y.own": png(photo(1))})
    assert open_images(path).ids == ("x.png",)
    monkeypatch.setattr(archives, "SUFFIXES", frozenset((".png", ".own")))
    assert open_images(path).ids == ("x.png", "y.own")
    kinds = []
    cached = archives.cached_index
    monkeypatch.setattr(
        *(archives, "cached_index"),
        lambda file, kind, build: kinds.append(kind) or cached(file, kind, build),
    )
    open_images(path)
    open_images(write_parquet(tmp_path / "b.parquet", [png(photo(0))], column="jpeg"))
    assert kinds == ["tar 1 ['.own', '.png']", "parquet 1"]


def test_a_shard_that_shrinks_or_goes_is_no_bad_image(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"x.png": png(photo(0)), "y.png": png(photo(1))})
    source = open_images(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(SourceError, match="shorter"):
        source.read("x.png")
    path.unlink()
    with pytest.raises(SourceError, match=r"a\.tar: no such file"):
        source.read("x.png")


def test_ids_of_two_shards_that_are_equal_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    write_tar(tmp_path / "a.tar", {"b/x.png": png(photo(0))})
    write_tar(tmp_path / "a" / "b.tar", {"x.png": png(photo(1))})
    with pytest.raises(DataError, match=r"a/b/x\.png"):
        open_images(tmp_path)


def test_ids_are_sorted_over_shards_whose_names_are_nested(tmp_path):
    (tmp_path / "a").mkdir()
    write_tar(tmp_path / "a.tar", {"a.png": png(photo(0)), "c.png": png(photo(1))})
    write_tar(tmp_path / "a" / "b.tar", {"x.png": png(photo(2))})
    write_tar(tmp_path / "a-b.tar", {"x.png": png(photo(3))})
    source = open_images(tmp_path)
    assert source.ids == ("a-b/x.png", "a/a.png", "a/b/x.png", "a/c.png")
    for image_id, seed in zip(source.ids, (3, 0, 2, 1), strict=True):
        assert_pixels(source.read(image_id), photo(seed))
    with pytest.raises(KeyError):
        source.read("a/b.png")


def test_a_member_larger_than_an_image_can_be_is_not_read(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"x.png": bytes(5 << 20), "y.png": png(photo(0))})
    source = open_images(path, max_image_mb=1)
    with pytest.raises(DataError, match="a file of 5 MB"):
        source.read("x.png")
    assert_pixels(source.read("y.png"), photo(0))


@pytest.mark.parametrize("kind", ["tar", "parquet", "npz", "compressed"])
def test_archives_go_to_another_process(tmp_path, kind):
    if kind == "tar":
        path = write_tar(tmp_path / "a.tar", {f"{i}.png": png(photo(i)) for i in range(3)})
    elif kind == "parquet":
        path = write_parquet(tmp_path / "a.parquet", [png(photo(i)) for i in range(3)])
    else:
        path, save = tmp_path / "a.npz", np.savez if kind == "npz" else np.savez_compressed
        save(path, np.stack([np.asarray(photo(i)) for i in range(3)]))
    source = open_images(path)
    source.read(source.ids[0])
    copy = pickle.loads(pickle.dumps(source))
    assert (copy.name, copy.ids) == (source.name, source.ids)
    for i, image_id in enumerate(copy.ids):
        assert_pixels(copy.read(image_id), photo(i))


# Parquet in pieces


def test_groups_of_two_shards_are_told_apart(tmp_path):
    for shard in range(2):
        images = [png(photo(10 * shard + i)) for i in range(4)]
        write_parquet(tmp_path / f"{shard}.parquet", images)
    source = open_images(tmp_path)
    order = [(row, shard) for row in range(4) for shard in range(2)]
    for row, shard in order + order[::-1]:
        assert_pixels(source.read(f"{shard}/{row:06d}"), photo(10 * shard + row))


@pytest.mark.medium
def test_a_row_group_is_read_in_pieces(tmp_path, monkeypatch):
    """Pages of few rows, which Arrow writes if it is told so; it decompresses a page at a time."""
    monkeypatch.setattr(pieces, "KEPT_BYTES", 100_000)
    images = 4 * [png(photo(i, (64, 64))) for i in range(300)]
    table, path = pa.table({"image": images}), tmp_path / "x.parquet"
    pq.write_table(table, path, write_batch_size=4, data_page_size=40_000, use_dictionary=False)
    del table
    source = open_images(path)
    before = pa.total_allocated_bytes()
    for i in (0, 1, 170, 1198, 3):
        assert_pixels(source.read(f"{i:06d}"), photo(i % 300, (64, 64)))
        assert pa.total_allocated_bytes() - before < sum(map(len, images)) / 4


@pytest.mark.medium
def test_a_page_of_all_rows_is_freed_after_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "KEPT_BYTES", 100_000)
    images = [png(photo(i, (64, 64))) for i in range(600)]
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet", use_dictionary=False)
    source = open_images(tmp_path / "x.parquet")
    before = pa.total_allocated_bytes()
    source.read("000300")
    assert pa.total_allocated_bytes() - before > sum(map(len, images))
    source.read("000599")
    assert pa.total_allocated_bytes() - before < sum(map(len, images)) / 3


@pytest.mark.medium
def test_a_small_file_of_gigabytes_is_read_in_pieces(tmp_path):
    """Each row is one entry of a dictionary: 300 bytes stand for 500 MB."""
    column = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(250, np.int32)), pa.array([bytes(2 << 20)])
    )
    table = pa.table({"image": column})
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "x.parquet").stat().st_size < 5000
    source = open_images(tmp_path / "x.parquet", max_image_mb=8)
    assert len(source) == 250
    before = pa.total_allocated_bytes()
    for image_id in source.ids[::100]:
        with pytest.raises(DataError, match="not an image"):
            source.read(image_id)
        assert pa.total_allocated_bytes() - before < 110 << 20


def test_a_number_of_images_that_no_file_holds_is_refused(tmp_path):
    pq.write_table(pa.table({"image": pa.nulls(1_000_000, pa.binary())}), tmp_path / "x.parquet")
    np.savez_compressed(tmp_path / "x.npz", np.zeros((100_000, 1, 1, 3), np.uint8))
    for suffix in ("parquet", "npz"):
        with pytest.raises(DataError, match="cannot hold"):
            open_images(tmp_path / f"x.{suffix}")


def test_a_group_that_is_too_large_for_its_rows_is_refused(tmp_path, monkeypatch):
    values = [bytes(3 << 20), b"x"]
    path = write_parquet(tmp_path / "x.parquet", values, rows_per_group=1)
    source = open_images(path, max_image_mb=2)
    with pytest.raises(DataError, match="row group 0 has 3 MB for 1 image"):
        source.read("000000")
    with pytest.raises(DataError, match="not an image"):
        source.read("000001")


def test_a_damaged_row_group_is_an_error_of_its_rows_alone(tmp_path):
    images = [png(photo(i, (64, 64))) for i in range(6)]
    path = write_parquet(tmp_path / "x.parquet", images, rows_per_group=2)
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    source = open_images(path)
    for row in (0, 1, 4, 5):
        assert_pixels(source.read(f"{row:06d}"), photo(row, (64, 64)))
    for row in (2, 3):
        with pytest.raises(DataError, match="row group 1") as caught:
            source.read(f"{row:06d}")
        assert "\n" not in str(caught.value)


def test_a_disk_that_fails_is_no_error_of_a_row(tmp_path, monkeypatch):
    source = open_images(write_parquet(tmp_path / "x.parquet", [png(photo(0))]))

    def fail(*args, **more):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pq, "ParquetFile", fail)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"x\.parquet.*Input/output error"):
            source.read("000000")
    monkeypatch.undo()
    assert_pixels(source.read("000000"), photo(0))


# Hostile npz files


def npz_member(
    header: bytes, data: bytes, path: Path, compression: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        size = len(header).to_bytes(2, "little")
        archive.writestr("arr_0.npy", b"\x93NUMPY\x01\x00" + size + header + data)
    return path


def header(shape: str, descr: str = "'|u1'", order: str = "False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()


@pytest.mark.parametrize(
    "text",
    [
        header("(1000000000, 1000000, 1000000, 3)"),
        header("(10, 0, 8, 3)"),
        header("(-1, 8, 8, 3)"),
        header("(0, 8, 8, 3)"),
        header("(1, 8, 8, 3)", "'|O'"),
        header("(1, 8, 8, 3)", "'|V0'"),
        header("(1, 8, 8, 3)", "[]"),
        header("(1, 8, 8, 3)", "[()]"),
        header("(1, 8, 8, 3)", "3"),
        header("(" * 2000 + ")" * 2000),
        header("5"),
        header("(1, 8, 8, 3)")[:-10],
        b"not a dictionary",
        b"[" * 9000,
        b"",
    ],
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_npz_header_that_cannot_be_right_is_one_line(tmp_path, text, compression):
    path = npz_member(text, bytes(192), tmp_path / "x.npz", compression)
    with pytest.raises(DataError, match=r"x\.npz") as caught:
        open_images(path)
    assert "\n" not in str(caught.value)


def patched(path: Path, offset: int, value: int) -> Path:
    """Change a 2-byte field of the zip's headers, local and central."""
    data = bytearray(path.read_bytes())
    for signature, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        start = data.index(signature) + offset + shift
        data[start : start + 2] = value.to_bytes(2, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("offset", "value", "token"), [(6, 1, "encrypted"), (8, 99, "compression")]
)
def test_encrypted_members_and_unknown_compression_are_one_line(tmp_path, offset, value, token):
    path = npz_member(header("(1, 8, 8, 3)"), bytes(192), tmp_path / "x.npz")
    assert len(open_images(path)) == 1
    with pytest.raises(DataError, match=token):
        open_images(patched(path, offset, value))


def test_a_member_that_is_not_where_the_archive_says_is_refused(tmp_path):
    path = npz_member(header("(1, 8, 8, 3)"), bytes(192), tmp_path / "x.npz")
    data = bytearray(path.read_bytes())
    data[:4] = b"ABCD"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"x\.npz"):
        open_images(path)


def test_a_compressed_npz_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "PIECE_BYTES", 500)
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    np.savez_compressed(tmp_path / "x.npz", images)
    source = open_images(tmp_path / "x.npz")
    for i in (*range(50), 3, 0, 49):
        assert_pixels(source.read(f"{i:06d}"), Image.fromarray(images[i]))
    assert all(len(piece) == 2 for _, piece in source._images._kept)


def test_a_damaged_compressed_npz_is_an_error_of_an_image(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    np.savez_compressed(tmp_path / "x.npz", images)
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 50] = b"\xff" * 50
    (tmp_path / "x.npz").write_bytes(data)
    source = open_images(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"x\.npz"):
        source.read("000049")


def test_images_of_an_npz_have_the_limit_of_any_image(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", np.zeros((1, 700, 700, 3), np.uint8))
    assert len(open_images(tmp_path / "x.npz")) == 1
    with pytest.raises(DataError, match="more than 1:"):
        open_images(tmp_path / "x.npz", max_image_mb=1)


# Sets of many images

READ = """
import os, sys
from pathlib import Path
from ssdd_bench.data.files import LocalFile
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
count, most = 0, 0
for batch in ImageLoader(open_images(sys.argv[1]), 32, "adm", 50, threads=4):
    count += len(batch)
    most = max(most, len(os.listdir("/proc/self/fd")))
memory = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(count, most, memory)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux does")
@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("images", [20, pytest.param(100, marks=pytest.mark.nightly)])
def test_memory_and_open_files_do_not_grow_with_the_set(tmp_path, kind, images):
    """Memory of 200 files, of some images each, against that of 2."""
    buffer = io.BytesIO()
    photo(0, (48, 48)).save(buffer, "JPEG")
    for shard in range(200):
        if kind == "tar":
            members = {f"{i:03d}.jpg": buffer.getvalue() for i in range(images)}
            write_tar(tmp_path / f"{shard:03d}.tar", members)
        else:
            file = tmp_path / f"{shard:03d}.parquet"
            write_parquet(file, images * [buffer.getvalue()], images // 4)
    found = []
    for last in (1, 199):
        pattern = f"{tmp_path}/{{000..{last:03d}}}.{kind}"
        command = [sys.executable, "-c", READ, pattern]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append([int(word) for word in done.stdout.split()])
    (few, files, memory), (many, most_files, most_memory) = found
    assert (few, many) == (2 * images, 200 * images)
    assert max(files, most_files) <= 12  # 4 threads read one each, at most
    assert most_memory < 1.03 * memory


def test_the_limit_of_a_member_is_four_times_that_of_its_pixels(tmp_path, monkeypatch):
    data = png(photo(0))
    data += bytes(-len(data) % 8)
    path = write_tar(tmp_path / "a.tar", {"x.png": data, "empty.png": b""})
    wide, narrow = open_images(path, max_image_mb=2), open_images(path, max_image_mb=1)
    assert wide.ids == ("empty.png", "x.png")
    monkeypatch.setattr(source_module, "MB", len(data) // 8)
    assert_pixels(wide.read("x.png"), photo(0))
    with pytest.raises(DataError, match="a file of"):
        narrow.read("x.png")


def test_headers_of_a_tar_are_read_up_to_a_megabyte():
    file = archives._Headers(io.BytesIO(bytes(3 << 20)))
    assert [len(file.read(size)) for size in (0, 1, 1 << 20)] == [0, 1, 1 << 20]
    assert file.tell() == (1 << 20) + 1
    for size in (-1, (1 << 20) + 1):
        with pytest.raises(tarfile.ReadError):
            file.read(size)
    with pytest.raises(tarfile.ReadError):
        file.read()


def test_places_in_a_tar_and_in_parquet_files(tmp_path):
    """Exact offsets, sizes, rows and groups, which all that is read depends on."""
    members = {"a.png": b"12345", "b.txt": b"1", "c/d.jpg": bytes(600), ".e.png": b"1"}
    index = archives._index_tar(LocalFile.find(write_tar(tmp_path / "a", members)))
    assert index.texts == ("a.png", "c/d.jpg")
    assert index.numbers["start"].tolist() == [512, 2560]
    assert index.numbers["size"].tolist() == [5, 600]
    path = write_parquet(tmp_path / "a.parquet", [b"1", b"2", b"3", b"4", b"5"], column="own")
    index = archives._index_parquet(LocalFile.find(path))
    groups = [pq.ParquetFile(path).metadata.row_group(i) for i in range(3)]
    assert index.texts == ("own",)
    assert index.numbers["rows"].tolist() == [2, 2, 1]
    assert index.numbers["bytes"].tolist() == [group.total_byte_size for group in groups]
    write_parquet(tmp_path / "b.parquet", [b"6", b"7", b"8"], column="own")
    source = open_images(tmp_path)
    places = [source._where(image_id)[1:] for image_id in source.ids]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (0, 0), (0, 1), (1, 0)]
    assert [source._where(one)[0].url[-9:] for one in source.ids[::5]] == [
        *("a.parquet", "b.parquet"),
    ]


def test_a_sparse_member_is_refused(tmp_path):
    data = tar_of(3)
    start = headers(data)[1]
    data[start + 156 : start + 157] = b"S"
    with_size(data, start, b"0")
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"after member '0\.png'"):
        open_images(tmp_path / "x.tar")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"other": [b"1"], "image": [b"1"]}, "image"),
        ({"text": ["1"], "jpeg": [b"1"]}, "jpeg"),
        ({"one": [{"bytes": b"1", "path": "x"}], "two": [{"path": "x"}]}, "one"),
        ({"one": [{"bytes": "text"}], "two": pa.array([b"1"], pa.large_binary())}, "two"),
        ({"one": [b"1"], "two": [b"1"]}, None),
        ({"image": ["text"]}, None),
    ],
)
def test_the_column_of_images(columns, expected):
    schema = pa.table(columns).schema
    if expected is None:
        with pytest.raises(DataError, match=next(iter(columns))):
            archives._image_column(schema, "x")
    else:
        assert archives._image_column(schema, "x") == expected
