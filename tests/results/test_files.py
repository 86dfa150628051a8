"""Atomic writes: what is on disk before, during and after one, and what is said where it fails."""

import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from ssdd_bench.errors import OutputError
from ssdd_bench.results.files import write_atomically, write_json, write_text


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_replaces_the_old_one_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(number))
    for text in ("old", "new"):
        seen: list[Path] = []

        def write(target: Path, text: str = text, seen: list[Path] = seen) -> None:
            assert (path.read_text() if path.exists() else "") != text
            target.write_text(text)
            seen.append(target)

        write_atomically(path, write, durable)
        assert path.read_text() == text
        assert list(path.parent.iterdir()) == [path]
        (target,) = seen
        assert target.parent == path.parent
        assert target.name.startswith(".a.json.")
        assert len(target.name) == len(".a.json.") + 8 + len(".tmp")  # 32 random bits
    assert len(synced) == 2 * durable


def test_every_write_is_durable_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(number))
    path = tmp_path / "a"
    write_atomically(path, Path.touch)
    write_text(path, "")
    write_json(path, {})
    assert len(synced) == 3
    write_text(path, "", durable=False)
    write_json(path, {}, durable=False)
    assert len(synced) == 3


def test_text_and_json_are_these_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert write_text(path, "é\udcff\n") == path
    assert path.read_bytes() == b"\xc3\xa9\\udcff\n"
    write_json(path, {"b": [1, 0.5], "a": "é"})
    assert path.read_bytes() == b'{\n  "a": "\\u00e9",\n  "b": [\n    1,\n    0.5\n  ]\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert path.read_bytes().startswith(b"{\n")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), ": No space left on device;"),
        (OSError("disk gone"), ": disk gone;"),
        (SafetensorError("I/O error 28"), ": I/O error 28;"),
    ],
)
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, error: Exception, reason: str
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fail(target: Path) -> None:
        target.write_text("half")
        raise error

    with pytest.raises(OutputError) as caught:
        write_atomically(path, fail)
    assert f"{path}{reason}" in str(caught.value)
    assert caught.value.__cause__ is error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_atomically(tmp_path / "a", lambda target: None, durable=False)
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "a", lambda target: 1 / 0)
    assert not list(tmp_path.iterdir())
