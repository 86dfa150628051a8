import os
import pickle
from pathlib import Path

import pytest
from encoded_images import assert_pixels, photo, png, write_tar
from PIL import Image

from ssdd_bench.data import source as source_module
from ssdd_bench.data.files import RemoteFile
from ssdd_bench.data.images import FolderImages, open_images
from ssdd_bench.errors import DataError

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


def test_another_process_gets_the_list_as_it_was(tmp_path):
    for name in ("b/2.png", "1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photo(int(name[-5])).save(tmp_path / name)
    data = pickle.dumps(open_images(tmp_path))
    photo(9).save(tmp_path / "added.png")
    source = pickle.loads(data)
    assert source.ids == ("1.png", "b/2.png")
    assert_pixels(source.read("b/2.png"), photo(2))
    with pytest.raises(KeyError):
        source.read("added.png")


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


def test_a_list_is_taken_along_whole(tmp_path):
    odd = os.fsdecode(b"\xff.png")
    remote = RemoteFile("memory://elsewhere/z.png", 7, "")
    source = FolderImages("set", {"b": "a/b.png", odd: odd, "a": "a", "z": remote}, tmp_path, 9)
    assert source.ids == ("a", "b", "z", odd)
    copy = pickle.loads(pickle.dumps(source))
    for one in (source, copy):
        assert (one.name, one.base, one.max_mb) == ("set", tmp_path, 9)
        assert list(one.items()) == [("a", "a"), ("b", "a/b.png"), ("z", remote), (odd, odd)]


def test_a_remote_file_larger_than_an_image_can_be_is_not_fetched(monkeypatch):
    data = png(photo(0))
    data += bytes(-len(data) % 8)
    monkeypatch.setattr(RemoteFile, "fetch", lambda self, start, end: data[start:end])
    files = {"x.png": RemoteFile("memory://x.png", len(data), "")}
    monkeypatch.setattr(source_module, "MB", len(data) // 8)
    assert_pixels(FolderImages("set", files, Path(), 2).read("x.png"), photo(0))
    more = {"x.png": RemoteFile("memory://x.png", len(data) + 1, "")}
    for refused, limit in ((files, 1), (more, 2)):
        with pytest.raises(DataError, match="a file of"):
            FolderImages("set", refused, Path(), limit).read("x.png")


def test_the_size_of_a_remote_image_is_limited(monkeypatch):
    data = png(Image.new("RGB", (600, 600)))
    monkeypatch.setattr(RemoteFile, "fetch", lambda self, start, end: data[start:end])
    files = {"x.png": RemoteFile("memory://x.png", len(data), "")}
    assert FolderImages("set", files, Path(), 2).read("x.png").size == (600, 600)
    with pytest.raises(DataError, match="600 x 600"):
        FolderImages("set", files, Path(), 1).read("x.png")
