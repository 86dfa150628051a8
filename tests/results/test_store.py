"""The result file: exact round trip, whole or absent on disk, strict about what it reads."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.errors import OutputError, UserError
from ssdd_bench.results import store as results
from ssdd_bench.results.places import path_of, result_path
from ssdd_bench.results.schema import (
    GENERATED_VERSION,
    DataRecord,
    ExecutionRecord,
    GeneratedRecord,
    GenerationRecord,
    LatentRecord,
    MetricValue,
    Result,
    SpeedRecord,
    Timing,
    TokenizerRecord,
)
from ssdd_bench.results.store import (
    find_results,
    from_json,
    load_results,
    load_saved,
    read_generated,
    save_result,
)

TIMING = Timing(0.5, 0.4, 0.75, 5, 2, 8, 16.0, None, 123_456, "process resident")


@pytest.fixture
def result() -> Result:
    return Result(
        tokenizer=TokenizerRecord(
            label="jpeg:quality=50",
            id="jpeg",
            options={"quality": 50},
            title="JPEG",
            family="codec",
            licence="HPND",
            version="1",
            note="",
            stochastic=False,
            weights={},
            params_encoder=0,
            params_decoder=0,
            extra={"sizes": [1, 2, None]},
        ),
        resolution=64,
        protocol={"id": "default-v1", "sha256": "ab" * 32},
        seed=3,
        steps=None,
        latent=LatentRecord("bytes", 1, 0, None, None, None, 0.75),
        data=DataRecord("sample", 2, "11" * 32, "22" * 32, ("broken.png",)),
        metrics={
            "psnr": MetricValue(math.pi, 2, True, "numpy 2.0"),
            "fd_effnet": MetricValue(None, 2, False, "x", unavailable="install y"),
        },
        speed=SpeedRecord(TIMING, TIMING),
        execution=ExecutionRecord("cpu", 2, "float32", "contiguous", True, "AVX2", True, None),
        environment={"python": "3.11"},
        command="ssdd-bench run",
        created="2025-01-01T00:00:00Z",
        seconds=1.5,
        fingerprint="0123456789abcdef" * 4,
        warnings=("few images",),
    )


def plain(result: Result) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(result)))


def edited(result: Result, *path: str | int, value: Any) -> Any:
    data = plain(result)
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize("shape", [None, (4, 8, 8)])
def test_round_trip_is_exact(result: Result, tmp_path: Path, shape: Any) -> None:
    result = dataclasses.replace(
        result,
        latent=dataclasses.replace(result.latent, shape=shape),
        speed=result.speed if shape else None,
    )
    path = save_result(result, tmp_path / "new" / "folder")
    assert load_results([path]) == [result]
    assert from_json(plain(result), "memory") == result


@pytest.mark.parametrize(
    "label", ["ssdd", "a/../../b", "images:path=/data/x y", "C:\\x", "..", "ü" * 3, "x" * 500]
)
def test_any_label_gives_one_safe_file_name(label: str, tmp_path: Path) -> None:
    path = result_path(tmp_path, label, 64, "default-v1", "f" * 64)
    assert path.parent == tmp_path
    assert path.name.endswith("_64_default-v1_ffffffffff.json")
    assert not path.name.startswith(".")
    assert len(path.name) < 200
    path.write_text("{}")


def test_labels_that_look_alike_differ_by_fingerprint(tmp_path: Path) -> None:
    names = {result_path(tmp_path, "a:b=1", 64, "p", "1" * 64).name}
    names.add(result_path(tmp_path, "a-b:1", 64, "p", "2" * 64).name)
    assert len(names) == 2


def test_a_job_whose_fingerprint_begins_alike_is_refused(result: Result, tmp_path: Path) -> None:
    """The known mistake: its file would take the place of the other's."""
    path = save_result(result, tmp_path)
    before = path.read_bytes()
    other = dataclasses.replace(result, fingerprint=result.fingerprint[:10] + "f" * 54, seconds=9.0)
    with pytest.raises(OutputError, match="another job"):
        save_result(other, tmp_path)
    with pytest.raises(OutputError, match="another job"):
        load_saved(path, other.fingerprint)
    assert path.read_bytes() == before
    save_result(dataclasses.replace(result, seconds=9.0), tmp_path)
    again = load_saved(path, result.fingerprint)
    assert again is not None
    assert again.seconds == 9.0


@pytest.mark.parametrize("broken_call", ["fsync", "replace"])
def test_a_failure_while_writing_leaves_the_old_file(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_call: str
) -> None:
    path = save_result(result, tmp_path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if broken_call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        save_result(dataclasses.replace(result, seconds=9.0), tmp_path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_line(result: Result, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file"):
        save_result(result, tmp_path / "file" / "below")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_by_key(result: Result, tmp_path: Path, number: float) -> None:
    metrics = {"psnr": dataclasses.replace(result.metrics["psnr"], value=number)}
    with pytest.raises(OutputError, match=r"metrics\.psnr\.value"):
        save_result(dataclasses.replace(result, metrics=metrics), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("surprise",), 1, "unknown key 'surprise'"),
        (("latent", "surprise"), 1, "unknown key 'latent.surprise'"),
        (("metrics", "psnr", "std"), 1, "unknown key 'metrics.psnr.std'"),
        (("status",), "failed", "key 'status' must be"),
        (("resolution",), 64.5, "key 'resolution' must be an integer, not 64.5"),
        (("resolution",), True, "key 'resolution' must be an integer, not true"),
        (("seconds",), "1", "key 'seconds' must be a number"),
        (("latent",), None, "key 'latent' must be a table"),
        (("latent", "shape"), [4, 8], "key 'latent.shape'"),
        (("warnings",), [1], r"key 'warnings\[0\]' must be text"),
        (("metrics", "psnr", "value"), "x", "key 'metrics.psnr.value' must be a number"),
    ],
)
def test_what_does_not_fit_the_schema_is_named(
    result: Result, path: tuple[str, ...], value: Any, message: str
) -> None:
    with pytest.raises(UserError, match=f"^some.json: .*{message}"):
        from_json(edited(result, *path, value=value), "some.json")


def test_a_missing_key_is_named_even_where_a_default_exists(result: Result) -> None:
    data = plain(result)
    del data["data"]["skipped"]
    with pytest.raises(UserError, match=r"some.json: missing key 'data.skipped'"):
        from_json(data, "some.json")


def test_load_takes_files_and_folders_once_each_in_name_order(
    result: Result, tmp_path: Path
) -> None:
    first = save_result(result, tmp_path)
    second = save_result(dataclasses.replace(result, resolution=128), tmp_path)
    below = save_result(dataclasses.replace(result, resolution=256), tmp_path / "below")
    (tmp_path / ".half.json").write_text("{")
    (tmp_path / "notes.txt").write_text("not a result")
    loaded = load_results([second, tmp_path, str(first)])
    assert [item.resolution for item in loaded] == [128, 64]
    assert [item.resolution for item in load_results([below, first])] == [256, 64]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged JSON"),
        ("[]", "not a result file.*: move it to another folder"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UserError, match=f"bad.json: .*{message}") as caught:
        load_results([tmp_path])
    assert "\n" not in str(caught.value)


def test_missing_and_empty_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: no such"):
        load_results([tmp_path / "absent"])
    with pytest.raises(UserError, match="no result files"):
        load_results([tmp_path])


GENERATED = GeneratedRecord(
    fingerprint="ab" * 32,
    generation=GenerationRecord(
        model="DiT-tiny/1",
        weights={},
        params=1,
        objective="flow",
        sampler="euler",
        steps=2,
        evaluations=2,
        guidance_scale=1.0,
        guidance_interval=(0.0, 1.0),
        guided_channels=3,
        labels="equal",
        classes=2,
        statistics="per channel",
        model_time=None,
        decoder_time=None,
    ),
    tokenizer=TokenizerRecord("x", "x", {}, "X", "kl-vae", "", "1", "", False, {}, 0, 0),
    decoder_steps=None,
    latent=LatentRecord("continuous", 4, 3, (3, 4, 4), 16, 0.1875, None),
    resolution=16,
    samples=4,
    seed=0,
    classes=("a", "b"),
    warnings=(),
    execution=ExecutionRecord("cpu", 2, "float32", None, None, None, None, None),
    environment={"torch": "2"},
    command="ssdd-bench gen sample",
)


def write_generated(folder: Path, data: dict[str, Any]) -> None:
    (folder / "generated.json").write_text(json.dumps(data))


def test_a_record_of_samples_is_read_back(tmp_path: Path) -> None:
    assert read_generated(tmp_path) is None
    write_generated(tmp_path, dataclasses.asdict(GENERATED))
    assert read_generated(tmp_path) == GENERATED


@pytest.mark.parametrize("version", [GENERATED_VERSION - 1, GENERATED_VERSION + 1])
def test_another_version_of_samples_is_refused(tmp_path: Path, version: int) -> None:
    write_generated(tmp_path, dataclasses.asdict(GENERATED) | {"schema_version": version})
    with pytest.raises(UserError, match=r"generated\.json: .*'schema_version'"):
        read_generated(tmp_path)


def test_the_file_of_a_result(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "jpeg-quality-50_64_default-v1_0123456789.json"
    assert path_of(result, tmp_path) == path
    assert save_result(result, tmp_path) == path
    assert load_saved(path, result.fingerprint) == result
    with pytest.raises(OutputError, match=path.name):
        load_saved(path, "0" * 64)
    assert load_saved(tmp_path / "gone", result.fingerprint) is None
    path.write_text("{")
    assert load_saved(path, result.fingerprint) is None


@pytest.mark.parametrize("bad", [math.nan, [0.5, math.inf], (1, {"x": -math.inf})])
def test_a_number_in_a_list_is_named(result: Result, tmp_path: Path, bad: Any) -> None:
    key = {float: "a.b", list: "a.b.1", tuple: "a.b.1.x"}[type(bad)]
    with pytest.raises(OutputError, match=rf"jpeg:quality=50' at 64 .*'environment\.{key}'"):
        save_result(dataclasses.replace(result, environment={"n": 1.0, "a": {"b": bad}}), tmp_path)


def test_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["b/1.json", "a/2.json", "a/1.json", "published/0.json", "a/.0.json", "a/deep/3.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = [tmp_path / name for name in ("a/1.json", "b/1.json", "a/2.json")]
    assert find_results([tmp_path]) == expected
    assert find_results([tmp_path / "b", str(tmp_path / "a"), tmp_path / "a/2.json"]) == expected
    assert find_results([tmp_path / "published"]) == [tmp_path / "published/0.json"]
    twins = [tmp_path / "published/0.json", tmp_path / "b/0.json"]
    twins[1].touch()
    assert find_results(twins) == find_results(twins[::-1]) == twins[::-1]
    twins[1].unlink()
    (tmp_path / "z.json").symlink_to(tmp_path / "a/1.json")
    assert find_results([tmp_path]) == [tmp_path / "z.json"]  # none of those below
    assert find_results([tmp_path, tmp_path / "a"]) == [tmp_path / "a/2.json", tmp_path / "z.json"]


@pytest.mark.parametrize(
    ("data", "token"),
    [
        ([], "schema_version"),
        ({}, "schema_version"),
        ({"schema_version": True}, "integer"),
        ({"schema_version": results.SCHEMA_VERSION + 1}, "5, expected 4: update"),
        ({"schema_version": results.SCHEMA_VERSION - 1}, "3, expected 4: repeat"),
    ],
)
def test_versions(data: Any, token: str) -> None:
    with pytest.raises(UserError, match=rf"^a\.json: .*{token}"):
        from_json(data, Path("a.json"))


def test_a_key_of_samples_that_does_not_fit_is_named_with_its_file(tmp_path: Path) -> None:
    write_generated(tmp_path, dataclasses.asdict(GENERATED) | {"seed": "x"})
    with pytest.raises(UserError, match=rf"^{tmp_path}/generated\.json: .*'seed'"):
        read_generated(tmp_path)
