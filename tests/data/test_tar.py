"""Images in tar files: members as tarfile finds them, and damage that is named."""

import contextlib
import io
import tarfile

import numpy as np
import pytest
from encoded_images import assert_pixels, photo, png, write_tar

from ssdd_bench.data import source as source_module
from ssdd_bench.data import tar
from ssdd_bench.data.files import LocalFile
from ssdd_bench.data.images import open_images
from ssdd_bench.errors import DataError, SourceError


def test_tar_reads_members_in_any_order(tmp_path):
    members = {f"./c/{i}.png": png(photo(i)) for i in (2, 0, 1)}
    path = write_tar(tmp_path / "train.tar", {**members, "c/0.cls": b"7", "c/._0.png": b"junk"})
    source = open_images(path)
    assert source.ids == ("c/0.png", "c/1.png", "c/2.png")
    assert source.name == "train"
    for i in (2, 0, 1):
        assert_pixels(source.read(f"c/{i}.png"), photo(i))


def test_later_member_of_one_path_counts(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"x.png": png(photo(0)), "./x.png": png(photo(1))})
    source = open_images(path)
    assert source.ids == ("x.png",)
    assert_pixels(source.read("x.png"), photo(1))


def test_compressed_tar_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"x.png": png(photo(0))}, mode="w:gz")
    with pytest.raises(DataError, match="uncompressed"):
        open_images(path)


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
    for reader in (tar.read_plain, lambda header: None):
        with monkeypatch.context() as patch:
            patch.setattr(tar, "read_plain", reader)
            try:
                index = tar._index_tar(LocalFile.find(path))
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
    assert tar.read_plain(bytes(data[:512])) == ("0.png", 5)  # it was not left to tarfile


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
    monkeypatch.setattr(tar, "_index_tar", lambda shard: pytest.fail("was read again"))
    source = open_images(path)
    assert_pixels(source.read("x.png"), photo(0))
    monkeypatch.undo()
    write_tar(path, {"y.png": png(photo(1)), "z.png": png(photo(2))})
    source = open_images(path)
    assert source.ids == ("y.png", "z.png")
    assert_pixels(source.read("z.png"), photo(2))


def test_a_shard_that_shrinks_or_goes_is_no_bad_image(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"x.png": png(photo(0)), "y.png": png(photo(1))})
    source = open_images(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(SourceError, match="shorter"):
        source.read("x.png")
    path.unlink()
    with pytest.raises(SourceError, match=r"a\.tar: no such file"):
        source.read("x.png")


def test_a_member_larger_than_an_image_can_be_is_not_read(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"x.png": bytes(5 << 20), "y.png": png(photo(0))})
    source = open_images(path, max_image_mb=1)
    with pytest.raises(DataError, match="a file of 5 MB"):
        source.read("x.png")
    assert_pixels(source.read("y.png"), photo(0))


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
    file = tar._Headers(io.BytesIO(bytes(3 << 20)))
    assert [len(file.read(size)) for size in (0, 1, 1 << 20)] == [0, 1, 1 << 20]
    assert file.tell() == (1 << 20) + 1
    for size in (-1, (1 << 20) + 1):
        with pytest.raises(tarfile.ReadError):
            file.read(size)
    with pytest.raises(tarfile.ReadError):
        file.read()


def test_a_sparse_member_is_refused(tmp_path):
    data = tar_of(3)
    start = headers(data)[1]
    data[start + 156 : start + 157] = b"S"
    with_size(data, start, b"0")
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"after member '0\.png'"):
        open_images(tmp_path / "x.tar")


def test_an_index_holds_for_the_names_and_format_it_was_made_for(tmp_path, monkeypatch):
    """Suffixes of images are in its key, and so is the version of its format."""
    path = write_tar(tmp_path / "a.tar", {"x.png": png(photo(0)), "y.own": png(photo(1))})
    assert open_images(path).ids == ("x.png",)
    monkeypatch.setattr(tar, "SUFFIXES", frozenset((".png", ".own")))
    assert open_images(path).ids == ("x.png", "y.own")
    kinds = []
    monkeypatch.setattr(
        *(tar, "cached_index"), lambda file, kind, build: kinds.append(kind) or build(file)
    )
    open_images(path)
    assert kinds == ["tar 1 ['.own', '.png']"]


def test_places_of_members(tmp_path):
    """Exact offsets and sizes, which all that is read depends on."""
    members = {"a.png": b"12345", "b.txt": b"1", "c/d.jpg": bytes(600), ".e.png": b"1"}
    index = tar._index_tar(LocalFile.find(write_tar(tmp_path / "a", members)))
    assert index.texts == ("a.png", "c/d.jpg")
    assert index.numbers["start"].tolist() == [512, 2560]
    assert index.numbers["size"].tolist() == [5, 600]
