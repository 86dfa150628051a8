"""Encoders that lie in the folder of another tokenizer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ssdd_bench.errors import UnknownNameError, WeightsError
from ssdd_bench.plugins.manifest import SharedFile, Shipped, TokenizerInfo
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.weights.files import sha256_file
from ssdd_bench.weights.shared import find_encoder

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Install two tokenizers, of which ``student`` has the encoder of ``teacher``."""

    def write(owner: str = "student", sha256: str = "") -> Path:
        infos: dict[str, TokenizerInfo] = {}
        (base,) = (info for info in TOKENIZERS.all().values() if info.id == "ssdd")
        for name in ("student", "teacher"):
            folder = tmp_path / name
            (folder / "weights").mkdir(parents=True)
            (folder / "weights" / f"{name}.safetensors").write_bytes(name.encode())
            infos[name] = replace(base, id=name, folder=folder, shipped=None)
        mine, theirs = (
            infos[name].folder / "weights" / f"{name}.safetensors"
            for name in ("teacher", "student")
        )
        shared = SharedFile(owner, theirs.name, sha256 or sha256_file(theirs))
        infos["teacher"] = replace(infos["teacher"], shipped=Shipped("", {}, {mine.name: shared}))

        def get(name: str) -> TokenizerInfo:
            if name not in infos:
                raise UnknownNameError("tokenizer", name, infos)
            return infos[name]

        monkeypatch.setattr(TOKENIZERS, "all", lambda: infos)
        monkeypatch.setattr(TOKENIZERS, "get", get)
        return mine

    return write


def test_the_file_that_the_manifest_names_is_found(write: Write) -> None:
    path = write()
    found = find_encoder(path)
    assert found is not None
    assert found.read_bytes() == b"student"
    assert find_encoder(found) is None
    assert find_encoder(path.parents[1] / path.name) is None


def test_an_absent_tokenizer_is_named_with_what_to_do(write: Write) -> None:
    with pytest.raises(WeightsError, match="'gone'"):
        find_encoder(write("gone"))


def test_another_file_of_the_same_name_is_refused(write: Write) -> None:
    with pytest.raises(WeightsError, match=r"student\.safetensors"):
        find_encoder(write(sha256="1" * 64))
