"""Protocols as files: each is pinned, and a wrong one is refused by file, setting and value."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.metrics.catalog import default_metrics, find_metrics
from ssdd_bench.protocols.descriptions import MEANINGS, describe
from ssdd_bench.protocols.registry import FOLDER, OURS, PROTOCOLS, find_protocol, get_protocol
from ssdd_bench.protocols.schema import (
    NO_SETTING,
    GenerationProtocol,
    Protocol,
    Superseded,
    differences,
)

PINNED = {
    "default-v1": "09e2e4f9bc920f3fbb2e719ff99912bf70392dc3a2843b1fa04ce046248cd98d",
    "ssdd-paper-v1": "fb2a328e0b564245fa3d2298ffa989d703d27b3b6505d8464dc28e5594f2a16a",
    "ldm-v1": "6d5c690b6022cad11e9de9283fecf2b485dc7a0b185f0b24c76f8fc63b210da2",
    "adm-v1": "46c4430c65c4288e11d17a61b085ccc96d34941a1f5af96c31a66c40dabc7ef3",
    "gfid-v1": "536ae86bdc35b259dd069f060f571d652fa1c45f5c84db48e1511644633cd5eb",
}
SETTINGS = [
    (name, field.name)
    for name, protocol in PROTOCOLS.all().items()
    for field in fields(protocol)
    if field.name not in ("description", "superseded")
]
SETTING = {setting for _, setting in SETTINGS}
LAB = """
base = "ssdd-paper-v1"
description = "ours"
crop = "adm"
metrics = ["psnr"]
"""


def write(folder: Path, text: str, name: str = "lab-v1.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_protocols_never_change() -> None:
    """A published protocol is immutable: give a changed one a new name instead of a new hash."""
    assert {name: protocol.sha256 for name, protocol in PROTOCOLS.all().items()} == PINNED
    assert not PROTOCOLS.broken()


def test_every_file_is_listed() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.toml")) == sorted(OURS)


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_every_setting_is_in_the_hash(name: str, setting: str) -> None:
    protocol = PROTOCOLS.get(name)
    value = getattr(protocol, setting)
    other: Any = not value if isinstance(value, bool) else "another"
    assert replace(protocol, **{setting: other}).sha256 != protocol.sha256


def test_a_description_may_be_reworded_and_a_former_version_added() -> None:
    protocol = PROTOCOLS.get("default-v1")
    assert replace(protocol, description="better words").sha256 == protocol.sha256
    assert replace(protocol, superseded=()).sha256 == protocol.sha256
    assert "superseded" not in protocol.record()


@pytest.mark.parametrize("name", OURS)
def test_former_versions_are_those_before_noise_by_philox(name: str) -> None:
    protocol = PROTOCOLS.get(name)
    (former,) = protocol.superseded
    noise = {key: "keyed" for key, value in protocol.record().items() if value == "philox"}
    assert noise
    assert replace(protocol, **noise).sha256 == former.sha256 != protocol.sha256


@pytest.mark.parametrize("kind", [Protocol, GenerationProtocol])
def test_settings_are_enumerations_numbers_or_switches_with_a_meaning(kind: type[Any]) -> None:
    hints = get_type_hints(kind)
    assert all(one.default is one.default_factory for one in fields(kind) if one.name in SETTING)
    for name, hint in hints.items():
        if name in ("id", "description", "metrics", "superseded"):
            continue
        values = [True, False] if hint is bool else get_args(hint)
        if get_origin(hint) is Literal or hint is bool:
            assert all(describe(name, value) for value in values), name
        else:
            assert hint is int or int in values
    assert "crop" not in hints or set(get_args(hints["crop"])) == CROPS.keys()
    assert hints.keys() & MEANINGS.keys()


def test_every_meaning_is_of_a_setting() -> None:
    hints = {**get_type_hints(Protocol), **get_type_hints(GenerationProtocol)}
    assert MEANINGS.keys() <= hints.keys()


def test_differences_are_the_settings_that_differ() -> None:
    found = differences(PROTOCOLS.get("default-v1"), PROTOCOLS.get("ldm-v1"))
    assert set(found) == {"metrics", "crop", "posterior"}
    assert found["posterior"] == ("mode", "sample")
    assert not differences(PROTOCOLS.get("adm-v1"), PROTOCOLS.get("adm-v1"))
    across = differences(PROTOCOLS.get("default-v1"), PROTOCOLS.get("gfid-v1"))
    assert across["crop"] == ("adm", NO_SETTING)
    assert across["samples"] == (NO_SETTING, 50_000)


@pytest.mark.parametrize("name", ["adm-v1", "gfid-v1"])
def test_protocols_of_generation_are_not_run(name: str) -> None:
    with pytest.raises(UserError, match=name):
        get_protocol(name)


def test_metrics_of_protocols_exist() -> None:
    for protocol in PROTOCOLS.all().values():
        known = find_metrics("pairs" if isinstance(protocol, Protocol) else "samples")
        assert set(protocol.metrics) <= known.keys()
    assert get_protocol("default-v1").metric_keys == default_metrics("pairs")


def test_a_file_states_what_differs_from_its_base(tmp_path: Path) -> None:
    path = write(tmp_path, LAB)
    lab, paper = get_protocol(path), get_protocol("ssdd-paper-v1")
    assert (lab.id, lab.crop, lab.metrics) == ("lab-v1", "adm", ("psnr",))
    assert differences(lab, paper).keys() == {"crop", "metrics"}
    assert lab.sha256 != paper.sha256
    other = find_protocol(write(tmp_path, LAB.replace("ssdd-paper", "gfid").replace("crop", "#")))
    assert isinstance(other, GenerationProtocol)


def test_a_file_has_former_versions_of_its_own(tmp_path: Path) -> None:
    assert get_protocol(write(tmp_path, LAB)).superseded == ()
    former = '[[superseded]]\nsha256 = "0"\nchange = "other crops"\n'
    assert get_protocol(write(tmp_path, LAB + former)).superseded == (
        Superseded("0", "other crops"),
    )
    with pytest.raises(UserError, match=r"superseded\[0\]\.change"):
        get_protocol(write(tmp_path, LAB + '[[superseded]]\nsha256 = "0"\n'))


def test_a_file_without_a_base_states_everything(tmp_path: Path) -> None:
    whole = (FOLDER / "ldm-v1.toml").read_text()
    found = get_protocol(write(tmp_path, whole))
    assert replace(found, id="ldm-v1") == get_protocol("ldm-v1")
    with pytest.raises(UserError, match="missing key 'posterior'"):
        get_protocol(write(tmp_path, whole.replace("posterior", "#")))


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (LAB + "crops = 'adm'", "lab-v1", "unknown key 'crops': did you mean crop"),
        (LAB + "posterior = 'mean'", "lab-v1", "'posterior' must be one of mode, sample, not"),
        (LAB + "frechet = 'float32'", "lab-v1", "'frechet' must be 'float64 moments', not"),
        (LAB + "id = 'x-v1'", "lab-v1", "unknown key 'id'"),
        (LAB + "metric_batch = 0", "lab-v1", "'metric_batch' must be 1 or more, not 0"),
        (LAB.replace("ssdd-paper-v1", "sdd-paper-v1"), "lab-v1", "did you mean ssdd-paper-v1"),
        (LAB.replace("description", "#"), "lab-v1", "missing key 'description'"),
        (LAB.replace("base", "#"), "lab-v1", "key 'kind'"),
        (LAB, "lab", "'lab' has no version"),
        (LAB, "ldm-v1", "'ldm-v1' already"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        find_protocol(write(tmp_path, text, f"{name}.toml"))
    assert str(caught.value).startswith(f"{tmp_path / name}.toml: ")
    assert message in str(caught.value)


def test_unknown_protocols() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        find_protocol("default-v2")
    with pytest.raises(UserError, match=r"gone-v1\.toml: cannot be read"):
        find_protocol("gone-v1.toml")
