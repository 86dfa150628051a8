"""Samples and statistics in npz files."""

import zipfile

import numpy as np
import pytest

from ssdd_bench.data import npz
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
