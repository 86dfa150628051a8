"""References of samples: images, moments, or both."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.images import open_images
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.evaluation.reference import Reference


def test_images_in_folders_of_classes(photos: Path) -> None:
    found = Reference(photos)
    source = open_images(photos)
    assert (found.name, found.count, found.moments) == (source.name, 24, None)
    assert found.classes == ("cat",) * 12 + ("dog",) * 12
    assert found.labels() == [0] * 12 + [1] * 12
    assert found.identity == data_fingerprint(source)
    assert found.images is not None
    assert found.images.max_mb == MAX_IMAGE_MB
    few = Reference(str(photos), 5, 7)
    assert (few.count, few.images and few.images.max_mb) == (5, 7)
    assert few.identity == data_fingerprint(open_images(photos, 5, max_image_mb=7))


@pytest.mark.parametrize(
    ("classes", "fits"),
    [((), True), (("cat", "dog"), True), (("dog", "cat"), False), (("cat",), False)],
)
def test_classes_of_samples(photos: Path, classes: tuple[str, ...], fits: bool) -> None:
    assert Reference(photos).matches(classes) is fits
    assert Reference(photos / "cat").matches(classes)


def test_images_without_classes(photos: Path, tmp_path: Path) -> None:
    assert Reference(photos / "cat").classes == ()
    assert Reference(photos / "cat").labels() == []
    for name in ("a/x.png", "b/x.png", "x.png"):  # one lies in no class
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((photos / "cat" / "00.png").read_bytes())
    assert Reference(tmp_path).classes == ()
    (tmp_path / "x.png").unlink()
    assert Reference(tmp_path).classes == ("a", "b")
    array = np.zeros((2, 8, 8, 3), np.uint8)
    assert (Reference(array).count, Reference(array).classes) == (2, ())


@pytest.mark.parametrize("images", [True, False])
def test_moments_of_a_file(tmp_path: Path, images: bool) -> None:
    path = tmp_path / "adm.NPZ"
    arrays = {"mu": np.arange(2.0), "sigma": np.eye(2)}
    if images:
        arrays["arr_0"] = np.zeros((3, 8, 8, 3), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    found = Reference(path, max_image_mb=7)
    assert found.name == "adm"
    assert found.moments is not None
    assert (found.moments.name, found.moments.has_images) == ("adm.NPZ", images)
    assert found.moments.arrays.keys() == {"mu", "sigma"}
    assert found.count == (3 if images else 0)
    assert found.identity == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.images and found.images.max_mb) == (7 if images else None)
    assert found.classes == ()


def test_images_of_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", arr_0=np.zeros((3, 8, 8, 3), np.uint8))
    found = Reference(tmp_path / "x.npz", 2)
    assert (found.moments, found.count) == (None, 2)
    assert found.images is not None
    assert found.identity == data_fingerprint(found.images)
