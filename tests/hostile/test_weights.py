"""Damaged and strange weights: refused in one line, and nothing in them runs."""

import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from damage import altered, damaged, examples
from forked import attempt
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from ssdd_bench.nn.decoder import DecoderSize, SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.ssdd.checkpoints import load_decoder, load_encoder, load_ssdd
from ssdd_bench.weights.files import load_tensors

pytestmark = pytest.mark.slow
READERS = (load_tensors, load_ssdd, load_encoder, load_decoder)


def write(folder: Path, data: bytes, name: str = "a.safetensors") -> Path:
    file = folder / name
    file.write_bytes(data)
    return file


def small_checkpoint() -> bytes:
    """Return a whole SSDD checkpoint of narrow networks."""
    networks = {
        "encoder": SSDDEncoder(base=32),
        "decoder": SSDDDecoder(DecoderSize((32, 32, 32, 32), 2, 1, 32, 0.02)),
    }
    return save(
        {
            f"{role}.{name}": tensor.half()
            for role, network in networks.items()
            for name, tensor in network.state_dict().items()
        }
    )


GOOD = small_checkpoint()


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: object, content: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def load(path: Path) -> None:
    load_tensors(path)
    load_ssdd(path)


def test_the_good_one_loads(tmp_path: Path) -> None:
    assert attempt(load, write(tmp_path, GOOD)).kind == "returned"


@examples(60)
@given(damaged(GOOD))
def test_damaged_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    ending = attempt(load, write(tmp_path_factory.getbasetemp(), data))
    assert ending.is_good, ending


@examples(120)
@given(data=st.data())
def test_altered_headers(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    header, content = header_of(GOOD)
    name = data.draw(st.sampled_from(sorted(header)))
    header[name] = data.draw(altered(header[name]))
    file = write(tmp_path_factory.getbasetemp(), with_header(header, content))
    ending = attempt(load, file)
    assert ending.is_good, ending


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8, torch.bool, torch.int64])
def test_weights_that_are_no_real_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: value.to(dtype) for name, value in safetensors.torch.load(GOOD).items()}
    ending = attempt(load_ssdd, write(tmp_path, save(state)))
    assert ending.kind == "refused"
    assert ending.is_good, ending


class Trap:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_do_not_run(tmp_path: Path, suffix: str, zipped: bool) -> None:
    file, proof = tmp_path / f"a{suffix}", tmp_path / "proof"
    if zipped:
        torch.save({"encoder.x": Trap(proof)}, file)
    else:
        file.write_bytes(pickle.dumps({"encoder.x": Trap(proof)}, protocol=2))
    for read in READERS:
        ending = attempt(read, file)
        assert ending.kind == "refused"
        assert ending.is_good, ending
    assert not proof.exists()


PICKLED = io.BytesIO()
torch.save({name: torch.zeros(3, 3) for name in "abc"}, PICKLED)


@examples(60)
@given(damaged(PICKLED.getvalue()))
def test_damaged_pickles(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    ending = attempt(load_tensors, write(tmp_path_factory.getbasetemp(), data, "a.pt"))
    assert ending.is_good, ending
