"""Exported folders and programs give the scores of the networks that they were made of."""

import pytest
import torch
from diffusers import AutoencoderKL
from tiny_pipelines import make_kl

import ssdd_bench as sb
from ssdd_bench.diffusers import AutoencoderSSDD
from ssdd_bench.diffusers.export import as_autoencoder, export_folder, export_programs
from ssdd_bench.errors import OutputError, PluginError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.registry import load_tokenizer

SETTINGS = {
    "data": "sample",
    "resolution": 32,
    "limit": 2,
    "metrics": ["psnr"],
    "progress": False,
}


def psnr(tokenizer):
    return sb.evaluate(tokenizer, **SETTINGS).metrics["psnr"].value


def request(name, folder):
    suffix = {"torchscript": "jit", "onnx": "onnx"}[name]
    files = ",".join(f"{role}={folder / role}.{suffix}" for role in ("encoder", "decoder"))
    return f"{name}:{files}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchscript", "onnx"])
def test_programs_of_ssdd_take_noise_and_score_as_the_tokenizer(name, tmp_path):
    if name == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        if torch.__version__.startswith("2.6."):
            pytest.skip("PyTorch 2.6 cannot export it with today's onnx-ir")
    model = as_autoencoder(load_tokenizer("ssdd"))
    found = export_programs(model, tmp_path, name, side=32)
    assert len(found) == 2
    assert max(found.values()) < 1e-4
    program = load_tokenizer(request(name, tmp_path))
    assert program.stochastic
    assert program.latent == load_tokenizer("ssdd").latent
    result = sb.evaluate(request(name, tmp_path), **SETTINGS)
    assert result.tokenizer.stochastic
    assert result.metrics["psnr"].value == pytest.approx(psnr("ssdd"), abs=1e-3)
    x = torch.rand(2, 3, 32, 32)  # a batch, and other noise
    a, b = (program.reconstruct(x, seed) for seed in (0, 1))
    assert (a - b).abs().max() > 0.01
    torch.testing.assert_close(a, load_tokenizer("ssdd").reconstruct(x, 0), atol=1e-3, rtol=0)


@pytest.mark.slow
def test_programs_of_a_vae_take_no_noise(tmp_path):
    found = export_programs(make_kl(8, 8), tmp_path, "torchscript", side=32)
    assert found.keys() == {"encoder.jit", "decoder.jit"}
    assert max(found.values()) < 1e-5
    assert not load_tokenizer(request("torchscript", tmp_path)).stochastic
    assert psnr(request("torchscript", tmp_path)) == pytest.approx(psnr(make_kl(8, 8)), abs=1e-3)


@pytest.mark.slow
def test_an_exporter_that_fails_is_one_line_and_leaves_no_file(tmp_path, monkeypatch):
    def fail(*arguments, **more):
        raise KeyError("aten.some_operator")

    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.raises(PluginError, match=r"encoder\.jit.*aten\.some_operator"):
        export_programs(make_kl(8, 8), tmp_path, "torchscript", side=32)
    assert not list(tmp_path.iterdir())


def test_a_larger_difference_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("ssdd_bench.diffusers.export._difference", lambda *_: 0.5)
    with pytest.raises(
        OutputError, match=r"encoder\.jit differs from the network by 0\.5"
    ) as caught:
        export_programs(make_kl(8, 8), tmp_path, "torchscript", side=32)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_folder_is_read_by_its_class_and_by_a_tokenizer(tmp_path):
    model = as_autoencoder(load_tokenizer("ssdd", steps=2))
    assert isinstance(model, AutoencoderSSDD)
    export_folder(model, tmp_path / "ssdd")
    again = AutoencoderSSDD.from_pretrained(tmp_path / "ssdd")
    assert again.config.steps == 2
    assert torch.equal(again.decoder.conv_out.weight, model.decoder.conv_out.weight)
    assert check_tokenizer(f"diffusers:path={tmp_path / 'ssdd'}", 32) == []
    vae = make_kl(8, 8)
    assert as_autoencoder(sb.from_diffusers(vae)) is vae
    export_folder(vae, tmp_path / "kl")
    assert AutoencoderKL.from_pretrained(tmp_path / "kl").config.norm_num_groups == 4


def test_the_index_of_other_weights_would_be_read_in_place_of_an_export(tmp_path):
    make_kl(8, 8).save_pretrained(tmp_path, max_shard_size="5KB")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="another folder"):
        export_folder(make_kl(8, 8), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
