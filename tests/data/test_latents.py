"""Latents on disk: the right rows of the right shards, and damage that is noticed."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from ssdd_bench.data.latents import (
    LatentsConfig,
    LatentSet,
    LatentsRecord,
    is_whole,
    read_latents,
    shard_facts,
    shard_path,
)
from ssdd_bench.data.statistics import ChannelStats
from ssdd_bench.errors import UserError
from ssdd_bench.results.fingerprint import fingerprint, hash_arrays

CONFIG = LatentsConfig(
    *("klvae", "ab" * 32, {"w.bin": "cd" * 32}, 4, 2, 16, "adm", "mode", 0, True),
    *("photos", 5, "ef" * 32, ("a", "b"), 2),
)
STATS = ChannelStats((0.0, 1.0), (1.0, 2.0))
RECORD = LatentsRecord(CONFIG, STATS, STATS, "ssdd-bench gen encode", "2026-01-01")
LATENTS = np.arange(5 * 2 * 4 * 4, dtype=np.float32).reshape(5, 2, 4, 4)
LABELS = np.array([0, 1, 1, 0, 1])


def write(folder: Path, config: LatentsConfig = CONFIG) -> Path:
    for shard, rows in enumerate((slice(0, 2), slice(2, 4), slice(4, 5))):
        arrays = {
            "latents": LATENTS[rows],
            "latents_flip": -LATENTS[rows],
            "labels": LABELS[rows],
        }
        facts = {"config": config.key, "sha256": hash_arrays(arrays)}
        save_file(
            arrays, folder / f"shard-0000{shard}.safetensors", {"ssdd-bench": json.dumps(facts)}
        )
    (folder / "latents.json").write_text(json.dumps(asdict(RECORD)))
    return folder


def test_latents_of_any_rows_and_their_mirror_images(tmp_path):
    found = LatentSet(write(tmp_path))
    assert len(found) == 5
    assert found.labels.tolist() == [0, 1, 1, 0, 1]
    assert found.record == RECORD
    assert found.folder == tmp_path
    for _ in range(2):  # the second time no checksum is compared
        batch = found.batch(np.array([4, 1, 3]), np.array([False, True, False]))
        assert batch.dtype == torch.float32
        np.testing.assert_array_equal(batch, np.stack([LATENTS[4], -LATENTS[1], LATENTS[3]]))


def test_sizes_and_key_follow_from_the_configuration():
    assert (CONFIG.side, CONFIG.shards, replace(CONFIG, n=4).shards) == (4, 3, 2)
    assert CONFIG.key == fingerprint(asdict(CONFIG))
    fields = {name: replace(CONFIG, **{name: "other"}).key for name in asdict(CONFIG)}
    assert len({CONFIG.key, *fields.values()}) == 1 + len(fields)
    assert shard_path(Path("x"), 12) == Path("x/shard-00012.safetensors")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_damaged_value_is_noticed_when_its_shard_is_read(tmp_path):
    path = shard_path(write(tmp_path), 1)
    assert is_whole(path)
    damage(path)
    assert not is_whole(path)
    found = LatentSet(tmp_path)
    other = np.array([0, 1, 4]), np.zeros(3, bool)
    assert len(found.batch(*other)) == 3
    for _ in range(2):
        with pytest.raises(UserError, match="shard-00001"):
            found.batch(np.array([0, 3]), np.zeros(2, bool))
    assert len(found.batch(*other)) == 3


@pytest.mark.parametrize("how", ["absent", "cut", "of others", "without facts", "no facts"])
def test_a_shard_that_is_not_there_or_of_other_latents_is_refused(tmp_path, how):
    path = shard_path(write(tmp_path), 2)
    if how == "absent":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif how == "of others":
        write(tmp_path, replace(CONFIG, seed=1))
        path = shard_path(tmp_path, 0)
    else:
        save_file({"a": LABELS}, path, {"other": "x"} if how == "without facts" else None)
    assert ("config" in shard_facts(path)) == (how == "of others")
    assert is_whole(path) == (how == "of others")
    with pytest.raises(UserError, match=path.name):
        LatentSet(tmp_path)


@pytest.mark.parametrize("version", [1, 2])
def test_latents_of_an_earlier_version_are_refused(tmp_path, version):
    record = asdict(RECORD) | {"schema_version": version}
    record["config"]["ids_sha256"] = record["config"].pop("data_sha256")
    (tmp_path / "latents.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"latents\.json.*--out"):
        read_latents(tmp_path)


def test_without_the_record_nothing_is_read(tmp_path):
    with pytest.raises(UserError, match=r"latents\.json"):
        read_latents(tmp_path)
    (tmp_path / "latents.json").write_text('{"config": 1}')
    with pytest.raises(UserError, match=r"latents\.json"):
        read_latents(tmp_path)
