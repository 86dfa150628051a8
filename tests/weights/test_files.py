import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ssdd_bench.errors import WeightsError
from ssdd_bench.weights.files import load_safetensors, load_strict, load_tensors, sha256_file


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_half_precision_file_fills_a_float32_module(tmp_path: Path) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    state = {name: tensor.half() for name, tensor in source.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_safetensors(tmp_path / "w.safetensors")
    load_strict(target, loaded, tmp_path / "w.safetensors")
    assert loaded["weight"].dtype == torch.float16
    assert target.weight.dtype == torch.float32
    assert torch.equal(target.weight, source.weight.half().float())


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64])
def test_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.safetensors: damaged"):
        load_safetensors(path)


@pytest.mark.parametrize("name", ["x.safetensors", "x.bin"])
def test_pointer_of_git_lfs_is_told(tmp_path: Path, name: str) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 334643268\n"
    (tmp_path / name).write_text(text)
    with pytest.raises(WeightsError, match="git lfs pull") as caught:
        load_tensors(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_truncated_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="damaged") as caught:
        load_safetensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [sha256_file, load_safetensors])
def test_missing_file_is_named(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(WeightsError, match=r"gone\.safetensors: no such file"):
        read(tmp_path / "gone.safetensors")


def test_mismatch_names_the_tensors_and_copies_nothing() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {name: torch.full_like(tensor, 7) for name, tensor in before.items()}
    del state["0.bias"]
    state |= {"0.weight": torch.zeros(5, 5)} | {f"more.{i}": torch.zeros(1) for i in range(5)}
    with pytest.raises(WeightsError) as caught:
        load_strict(module, state, "some/file")
    message = str(caught.value)
    assert message.startswith("some/file: does not fit Sequential (1 missing: 0.bias; ")
    assert "5 unexpected: more.0, more.1, more.2, ..." in message
    assert "1 of another shape: 0.weight (5, 5) instead of (2, 3)" in message
    assert "\n" not in message
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
