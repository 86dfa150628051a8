"""Chunks on disk: what is written is read, and anything else is refused by name."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ssdd_bench.evaluation.chunk_files import (
    ENTRY,
    FACTS,
    ChunkFiles,
    DamagedChunkError,
    differences,
)
from ssdd_bench.results.fingerprint import hash_arrays

ARRAYS = {"rows": np.arange(6.0).reshape(2, 3).T, "none": np.zeros((0, 2), np.uint8)}
FACTS_OF = {"text": "\udcff é", "list": [1, None, 0.1]}


@pytest.fixture
def files(tmp_path: Path) -> ChunkFiles:
    found = ChunkFiles(tmp_path / "parts" / "a-job-1", {"job": "abc", "sizes": (2, 1)}, 3)
    found.write(1, ARRAYS, FACTS_OF)
    return found


def test_a_chunk_is_read_as_it_was_written(files: ChunkFiles) -> None:
    arrays, facts = files.read(1)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in arrays.items():
        assert array.dtype == ARRAYS[name].dtype
        assert np.array_equal(array, ARRAYS[name])
    assert facts == FACTS_OF
    assert files.missing() == (0, 2)


def test_a_file_has_its_identity_and_checksum(files: ChunkFiles) -> None:
    path = files.path / "00001.safetensors"
    assert [*files.path.iterdir()] == [path]
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata.keys() == {ENTRY}
    arrays = load_file(path)
    assert json.loads(arrays[FACTS].tobytes().decode("ascii")) == FACTS_OF
    assert json.loads(metadata[ENTRY]) == {
        "identity": {"job": "abc", "sizes": [2, 1], "chunk": 1},
        "sha256": hash_arrays(arrays),
    }
    plain = {"a": np.array([1, 2], np.uint8)}
    assert hash_arrays(plain) == sha256(b"a |u1 (2,)\n\x01\x02").hexdigest()


def test_what_is_not_a_number_is_refused(files: ChunkFiles) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write(0, {}, {"seconds": float("nan")})


def rewrite(path: Path, header: Any) -> None:
    save_file({"x": np.zeros(1)}, path, metadata={ENTRY: header})


@pytest.mark.parametrize(
    "header",
    ["{", "{}", "1", '{"identity": {"job": "abc", "sizes": [2, 1], "chunk": 1}, "sha256": "0"}'],
)
def test_a_damaged_chunk_has_its_number(files: ChunkFiles, header: str) -> None:
    rewrite(files.chunk_path(1), header)
    with pytest.raises(DamagedChunkError, match=r"00001\.safetensors") as raised:
        files.read(1)
    assert raised.value.chunk == 1
    if "sha256" in header:  # found by reading the arrays alone
        assert files.missing() == (0, 2)
    else:
        with pytest.warns(RuntimeWarning, match=r"00001\.safetensors") as warned:
            assert files.missing() == (0, 1, 2)
        assert len(warned) == 1
        assert not files.chunk_path(1).exists()


def test_a_truncated_chunk_and_an_absent_one(files: ChunkFiles) -> None:
    path = files.chunk_path(1)
    path.write_bytes(path.read_bytes()[:-1])
    for chunk, name in ((1, "00001"), (2, "00002")):
        with pytest.raises(DamagedChunkError, match=name) as raised:
            files.read(chunk)
        assert raised.value.chunk == chunk


def test_chunks_of_another_job_or_place(files: ChunkFiles, tmp_path: Path) -> None:
    other = ChunkFiles(files.path, {"job": "abc", "sizes": (2, 2)}, 3)
    with pytest.raises(DamagedChunkError, match="its sizes is 2,1, expected 2,2") as raised:
        other.read(1)
    assert raised.value.chunk == 1
    files.chunk_path(2).write_bytes(files.chunk_path(1).read_bytes())
    with pytest.raises(DamagedChunkError, match="its chunk is 1, expected 2") as raised:
        files.read(2)
    assert raised.value.chunk == 2


def test_the_first_difference_is_told_shortly() -> None:
    expected = {"a": 1, "b": "0123456789abc", "c": [1, 2], "d": None}
    assert differences(expected | {"more": 1}, expected) == ""
    assert differences(expected | {"b": "x" * 20, "c": 0}, expected) == (
        "its b is xxxxxxxxxx, expected 0123456789"
    )
    assert differences(expected | {"c": (3, 4)}, expected) == "its c is 3,4, expected 1,2"
    assert differences({}, expected) == "its a is None, expected 1"


@pytest.mark.parametrize(
    ("held", "stays"),
    [
        ({"metrics": ["psnr"], "weights": []}, False),
        ({"metrics": ["psnr", "rfid"], "weights": ["inception"], "intervals": True}, False),
        ({"metrics": ["psnr", "ssim"], "weights": []}, True),
        ({"metrics": ["rfid"], "weights": ["inception", "alexnet"]}, True),
    ],
)
def test_a_finished_job_leaves_folders_that_hold_more(tmp_path: Path, held, stays) -> None:
    own = {"metrics": ["psnr", "rfid"], "weights": ["inception"], "intervals": True}
    files, other = (
        ChunkFiles(tmp_path / name, identity, 2) for name, identity in (("a-1", own), ("a-2", held))
    )
    for one in (files, other):
        one.write(1, {}, {})
    files.delete()
    assert not files.path.exists()
    assert other.path.exists() is stays
    files = ChunkFiles(tmp_path / "b-1", {**own, "intervals": False}, 2)
    other = ChunkFiles(tmp_path / "b-2", own, 2)
    other.write(1, {}, {})
    files.delete()
    assert other.path.exists()
    other.chunk_path(1).write_bytes(b"damaged")
    files.delete()
    assert not other.path.exists()


def test_a_finished_job_takes_earlier_folders_of_its_result_along(files: ChunkFiles) -> None:
    parts = files.path.parent
    others = ("a-1", "a-job", "another-1")
    for name in ("a-job-2", *others):
        (parts / name).mkdir()
    (parts / "a-job-2" / "x").write_text("x")
    files.delete()
    assert sorted(path.name for path in parts.iterdir()) == [*others]
    for name in others:
        (parts / name).rmdir()
    files.delete()
    assert not parts.exists()
    files.delete()
