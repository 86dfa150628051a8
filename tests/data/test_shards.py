"""Images in several files: ids, limits and memory, whatever the files are."""

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encoded_images import assert_pixels, photo, png, write_parquet, write_tar
from PIL import Image

from ssdd_bench.data.images import open_images
from ssdd_bench.errors import DataError


def test_equal_members_of_two_shards_do_not_collide(tmp_path):
    (tmp_path / "val").mkdir()
    write_tar(tmp_path / "000.tar", {"x.png": png(photo(0))})
    write_tar(tmp_path / "001.tar", {"x.png": png(photo(1))})
    write_tar(tmp_path / "val" / "000.tar", {"x.png": png(photo(2))})
    source = open_images(tmp_path)
    assert source.ids == ("000/x.png", "001/x.png", "val/000/x.png")
    for i, image_id in enumerate(source.ids):
        assert_pixels(source.read(image_id), photo(i))


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


def test_a_number_of_images_that_no_file_holds_is_refused(tmp_path):
    pq.write_table(pa.table({"image": pa.nulls(1_000_000, pa.binary())}), tmp_path / "x.parquet")
    np.savez_compressed(tmp_path / "x.npz", np.zeros((100_000, 1, 1, 3), np.uint8))
    for suffix in ("parquet", "npz"):
        with pytest.raises(DataError, match="cannot hold"):
            open_images(tmp_path / f"x.{suffix}")


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
