"""Kinds of models, told by the content of files whose names say nothing."""

import json
import warnings
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import nn

from ssdd_bench.errors import OptionError
from ssdd_bench.plugins.detect import Model, detect
from ssdd_bench.weights.files import is_pickle

KL = ("encoder.conv_in.weight", "decoder.conv_in.weight", "decoder.conv_out.weight", "quant.bias")


def tensors(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(1) for name in names}


def tiny_encoder(channels: int) -> dict[str, torch.Tensor]:
    """Convolutions of a tiny autoencoder that halve twice: one without bias, one activated."""
    sizes = {0: (8, 3), 1: (8, 8), 2: (8, 8), 4: (channels, 8)}
    state = {f"{layer}.weight": torch.zeros(*size, 3, 3) for layer, size in sizes.items()}
    return state | {f"{layer}.bias": torch.zeros(8) for layer in (0, 2, 4)}


def program(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript as a whole is deprecated
        torch.jit.script(nn.Identity()).save(path)


def onnx_program(path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph), path)


def test_ssdd_by_its_tensors(tmp_path):
    file = tmp_path / "x"
    save_file(tensors("encoder.conv_in.weight", "decoder.ada_ctx_proj.0.weight"), file)
    assert detect(file) == Model("ssdd-checkpoint", (file,), "SSDD checkpoint")
    torch.save(tensors("decoder.ada_ctx_proj.0.weight"), tmp_path / "y")
    assert detect(tmp_path / "y").kind == "ssdd-checkpoint"


@pytest.mark.parametrize("length", [0x280, 0x480])
def test_a_header_whose_length_begins_like_a_pickle(tmp_path, length):
    state = tensors("encoder.conv_in.weight", "decoder.ada_ctx_proj.0.weight")
    file = tmp_path / "x"
    save_file(state, file, metadata={"padding": ""})
    padding = length - int.from_bytes(file.read_bytes()[:8], "little")
    save_file(state, file, metadata={"padding": "x" * padding})
    assert file.read_bytes()[:2] in {b"\x80\x02", b"\x80\x04"}
    assert detect(file).kind == "ssdd-checkpoint"
    assert not is_pickle(file)


@pytest.mark.parametrize("write", [save_file, torch.save])
def test_tiny_autoencoder_by_its_layers(tmp_path, write):
    file = tmp_path / "x"
    write({f"encoder.layers.{name}": one for name, one in tiny_encoder(5).items()}, file)
    found = detect(file)
    assert (found.kind, found.f, found.channels) == ("tiny-autoencoder", 4, 5)


def test_pair_of_files_is_told_by_both(tmp_path):
    for role in ("encoder", "decoder"):
        torch.save(tiny_encoder(16), tmp_path / f"my_{role}.pth")
    found = detect(tmp_path)
    assert (found.kind, found.files, found.channels) == ("tiny-autoencoder", (tmp_path,), 16)


@pytest.mark.parametrize(
    ("write", "kind"), [(program, "torchscript-program"), (onnx_program, "onnx-program")]
)
def test_programs(tmp_path, write, kind):
    files = tuple(tmp_path / f"{role}.pt" for role in ("encoder", "decoder"))
    for file in files:
        write(file)
        assert detect(file).kind == kind
    assert detect(tmp_path) == Model(kind, files, detect(files[0]).words + "s")


def test_unlike_programs_are_no_pair(tmp_path):
    program(tmp_path / "encoder.pt")
    onnx_program(tmp_path / "decoder.onnx")
    with pytest.raises(OptionError, match="2 weights files"):
        detect(tmp_path)


@pytest.mark.parametrize("inside", ["", "vae"])
def test_diffusers_by_its_class(tmp_path, inside):
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": "VQModel"}))
    save_file(tensors(*KL), folder / "w.safetensors")
    assert detect(tmp_path) == Model("diffusers-model", (folder,), "diffusers VQModel")
    file = folder / "w.safetensors"
    assert detect(file) == Model("diffusers-model", (file,), "diffusers VQModel"), "it alone"


def test_a_file_of_several_stands_for_its_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderDC"}))
    for index in (1, 2):
        save_file(tensors(f"decoder.{index}"), tmp_path / f"m-0000{index}-of-00002.safetensors")
    for file in tmp_path.glob("*.safetensors"):
        assert detect(file) == detect(tmp_path)


def test_a_file_of_any_class_beside_its_configuration(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderDC"}))
    file = tmp_path / "w.safetensors"
    save_file(tensors("decoder.blocks.0"), file)
    assert detect(file) == Model("diffusers-model", (file,), "diffusers AutoencoderDC")


def test_tensors_of_an_unknown_model_are_named_without_metadata(tmp_path):
    save_file(tensors("a", "b"), tmp_path / "w.safetensors", metadata={"format": "pt"})
    with pytest.raises(OptionError, match=r"2 tensors.* a, b"):
        detect(tmp_path / "w.safetensors")


def test_autoencoder_without_a_configuration(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file(tensors(*KL), file)
    assert detect(tmp_path) == Model("autoencoder-kl", (file,), "weights of an AutoencoderKL")


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 no zip", b"\x80\x02 no pickle", b"\x08\x00", b"\xff" * 99, b"\2" + b"\0" * 7]
    + [(2).to_bytes(8, "little") + text for text in (b"[]", b"{}", b"{x")]
    + [(200_006).to_bytes(8, "little") + b'{"x": ' + b"[" * 200_000],
)
def test_what_is_no_model_is_one_line(tmp_path, content):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(OptionError) as caught:
        detect(tmp_path / "x.bin")
    assert str(tmp_path / "x.bin") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_of_brackets_in_brackets_names_no_class(tmp_path):
    (tmp_path / "config.json").write_text("[" * 200_000)
    with pytest.raises(OptionError, match=r"neither config\.json nor weights"):
        detect(tmp_path)


def test_the_folder_of_a_plugin_is_no_model(tmp_path):
    plugin = tmp_path / "my-vae" / "my_vae"
    plugin.mkdir(parents=True)
    (plugin / "tokenizer.toml").touch()
    for folder in (plugin, plugin.parent):
        with pytest.raises(OptionError, match=f"SSDD_BENCH_TOKENIZERS={plugin.parent} "):
            detect(folder)


def test_pickle_is_not_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"0.weight": Evil()}, tmp_path / "x.pt")
    with pytest.raises(OptionError, match="damaged"):
        detect(tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("files", [[], ["a.pt", "b.pt"], ["encoder.pt", "b.pt"]])
def test_folder_with_no_model_or_several(tmp_path, files):
    for name in files:
        save_file(tensors("decoder.ada_ctx_proj.0.weight"), tmp_path / name)
    with pytest.raises(OptionError, match="Name one file"):
        detect(tmp_path)
