"""Images, samples and statistics in npz files."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from encoded_images import assert_pixels
from PIL import Image

from ssdd_bench.data import npz
from ssdd_bench.data.images import open_images
from ssdd_bench.data.npz import array_names, find_array, read_labels, read_moments, write_npz
from ssdd_bench.errors import DataError


def test_moments(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, mu=np.zeros(3, np.float32), sigma=np.eye(3, dtype=np.float32))
    found = read_moments(path)
    assert set(found) == {"mu", "sigma"}
    assert found["sigma"].dtype == np.float64


@pytest.mark.parametrize(
    ("arrays", "token"),
    [
        ({"mu": np.zeros(3)}, "sigma"),
        ({"sigma_s": np.eye(3)}, "mu_s"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"\(4, 4\)"),
        ({"mu": np.zeros(3), "sigma": np.zeros(3)}, r"\(3,\)"),
    ],
)
def test_moments_that_do_not_fit_are_refused(tmp_path, arrays, token):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=token):
        read_moments(path)


def test_moments_are_those_of_their_names(tmp_path):
    values = {"mu": [1.0], "sigma": [[2.0]], "mu_s": [3.0, 4.0], "sigma_s": [[5.0, 6], [7, 8]]}
    np.savez(tmp_path / "a.npz", other=np.zeros(3), **values)
    found = read_moments(tmp_path / "a.npz")
    assert {name: one.tolist() for name, one in found.items()} == values
    np.savez(tmp_path / "b.npz", mu_s=np.zeros(2), sigma_s=np.eye(3))
    with pytest.raises(DataError, match=r"sigma_s \(3, 3\)"):
        read_moments(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", mu=np.array(["text"]), sigma=np.eye(1))
    with pytest.raises(DataError, match=r"c\.npz"):
        read_moments(tmp_path / "c.npz")


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 3), dtype=np.uint8)
LABELS = np.array([4, 0, 1, 1, 2], np.int32)


def test_samples_are_written_as_numpy_writes_them(tmp_path):
    path = tmp_path / "x.npz"
    write_npz(path, [IMAGES[:2], IMAGES[2:]], IMAGES.shape, LABELS)
    with np.load(path) as found:
        assert found.files == ["arr_0", "arr_1"]
        np.testing.assert_array_equal(found["arr_0"], IMAGES)
        assert found["arr_1"].tolist() == [4, 0, 1, 1, 2]
        assert (found["arr_0"].dtype, found["arr_1"].dtype) == (np.uint8, np.int64)
    with zipfile.ZipFile(path) as archive:
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
    found = find_array(path, "arr_0")
    assert found is not None
    np.testing.assert_array_equal(found.mapped(), IMAGES)
    assert list(found.pieces([36, 144])) == [IMAGES[:1].tobytes(), IMAGES[1:].tobytes()]
    assert read_labels(path).tolist() == [4, 0, 1, 1, 2]
    assert array_names(path) == ["arr_0", "arr_1"]


@pytest.mark.parametrize(
    "batches", [[IMAGES[:4]], [IMAGES, IMAGES[:1]], [IMAGES[:, :2]], [IMAGES.astype(float)], []]
)
def test_batches_that_do_not_fit_leave_no_file(tmp_path, batches):
    with pytest.raises(ValueError, match=r"\(|instead of 5"):
        write_npz(tmp_path / "x.npz", batches, IMAGES.shape, LABELS)
    assert list(tmp_path.iterdir()) == []


def test_labels_may_be_absent(tmp_path):
    np.savez(tmp_path / "X.NPZ.npz", IMAGES)
    (tmp_path / "X.NPZ.npz").rename(tmp_path / "X.NPZ")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "x.png").write_bytes(b"")
    for name in ("X.NPZ", "folder.npz", "x.png", "absent.npz"):
        assert read_labels(tmp_path / name) is None
    np.savez(tmp_path / "x.npz", arr_1=LABELS)
    (tmp_path / "x.npz").rename(tmp_path / "y.NPZ")
    assert read_labels(tmp_path / "y.NPZ").tolist() == LABELS.tolist()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_in_either_order(tmp_path, save, order, monkeypatch):
    values = np.arange(6, dtype=">i4").reshape(2, 3).copy(order)
    save(tmp_path / "x.npz", a=values)
    found = find_array(tmp_path / "x.npz", "a")
    assert found is not None
    assert (found.name, found.shape, found.fortran) == ("a", (2, 3), order == "F")
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found.whole(), values)
    assert found.whole().flags.writeable
    mapped = found.mapped()
    assert (mapped is None) == (save is np.savez_compressed)
    assert mapped is None or mapped.tolist() == values.tolist()
    with pytest.raises(DataError, match="a in"):
        list(found.pieces([25]))
    monkeypatch.setattr(npz, "LARGEST", 24)
    assert found.whole().tolist() == values.tolist()
    monkeypatch.setattr(npz, "LARGEST", 23)
    with pytest.raises(DataError, match="24 bytes"):
        found.whole()
    assert find_array(tmp_path / "x.npz", "b") is None


def test_headers_of_the_second_format_are_read_and_later_ones_refused(tmp_path):
    for version, expected in (((2, 0), [1, 2]), ((3, 0), None)):
        with (
            zipfile.ZipFile(tmp_path / "x.npz", "w") as archive,
            archive.open("a.npy", "w") as file,
        ):
            np.lib.format.write_array(file, np.array([1, 2]), version)
        if expected:
            assert find_array(tmp_path / "x.npz", "a").whole().tolist() == expected
        else:
            with pytest.raises(DataError, match=r"x\.npz"):
                find_array(tmp_path / "x.npz", "a")


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
    monkeypatch.setattr(npz, "PIECE_BYTES", 500)
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
