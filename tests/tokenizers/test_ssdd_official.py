"""Released SSDD checkpoints: names, licence, predicted sizes, and those without an encoder."""

import json
from itertools import product
from pathlib import Path

import huggingface_hub
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import UnknownNameError, WeightsError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer

LATENTS = {"F8C4": (8, 4), "F16C4": (16, 4), "F16C16": (16, 16), "F32C64": (32, 64)}
# Bytes of released files (F16C16 B and L), and of the others as their layout predicts.
BYTES = {
    "F8C4_S": 192_938_196,
    "F8C4_B": 221_275_508,
    "F8C4_M": 337_838_420,
    "F8C4_L": 499_765_180,
    "F8C4_XL": 781_817_092,
    "F16C4_M": 385_052_884,
    "F16C16_B": 268_991_676,
    "F16C16_M": 385_582_228,
    "F16C16_L": 547_508_988,
    "F32C64_M": 434_960_172,
}


def networks(latent, size):
    f, z_dim = LATENTS[latent]
    return {
        "encoder": SSDDEncoder(f, z_dim),
        "decoder": SSDDDecoder(size, z_dim),
    }


def tensors(made):
    return {
        f"{role}.{name}": value
        for role, network in made.items()
        for name, value in network.state_dict().items()
    }


def file_bytes(state):
    """Size of a float32 safetensors file: 8 bytes, a header padded to 8, the values."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(state):
        start, end = end, end + 4 * state[name].numel()
        shape = list(state[name].shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"))
    return 8 + -(-len(text) // 8) * 8 + end


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "expected"),
    [pytest.param(*one, marks=pytest.mark.slow) if one[1] > 4e8 else one for one in BYTES.items()],
)
def test_layouts_have_the_published_sizes(name, expected):
    with torch.device("meta"):
        state = tensors(networks(*name.split("_")))
    assert file_bytes(state) == expected
    # A table of 17 x 17 offsets, as one reads elsewhere, would show.
    tables = [key for key in state if key.endswith("relative_bias_table")]
    wider = {key: torch.empty(17, 17, state[key].shape[-1], device="meta") for key in tables}
    assert file_bytes({**state, **wider}) != expected


def test_the_formula_is_what_safetensors_writes(tmp_path):
    state = {"b.weight": torch.zeros(3, 5), "a": torch.zeros(7), "c": torch.zeros(1, 1)}
    save_file(state, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "x.safetensors").stat().st_size == file_bytes(state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Our own small weights as released files, with their encoder and without; a small SD-VAE."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("official")
    state = load_file(load_tokenizer("ssdd").weights[0])
    (folder / "F8C4").mkdir()
    save_file(state, folder / "F8C4" / "F8C4_M_256.safetensors")
    decoder = {name: value for name, value in state.items() if name.startswith("decoder.")}
    save_file(decoder, folder / "SDVAE_S_256.safetensors")
    AutoencoderKL(
        block_out_channels=[8, 8, 16, 16],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        norm_num_groups=4,
        layers_per_block=1,
    ).save_pretrained(folder / "vae")
    return folder


@pytest.mark.slow
def test_contract(folder):
    spec = f"ssdd-official:steps=1,checkpoint={folder}/SDVAE_S_256.safetensors,vae={folder}/vae"
    assert check_tokenizer(spec, resolution=32) == []


@pytest.mark.slow
@torch.no_grad()
def test_latents_of_sd_vae_are_not_scaled(folder):
    spec = f"ssdd-official:checkpoint={folder}/SDVAE_S_256.safetensors,vae={folder}/vae"
    tokenizer = load_tokenizer(spec)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    posterior = AutoencoderKL.from_pretrained(folder / "vae").eval().encode(2 * x - 1).latent_dist
    torch.testing.assert_close(tokenizer.encode(x).data, posterior.mean, atol=1e-5, rtol=1e-5)
    noise = KeyedNoise(0, "ab", "encode").normal((4, 8, 8))
    sampled = tokenizer.encode(x, KeyedNoise(0, "ab", "encode")).data
    torch.testing.assert_close(
        sampled, posterior.mean + posterior.std * noise, atol=1e-5, rtol=1e-5
    )
    names = [path.name for path in tokenizer.weights]
    assert names == ["SDVAE_S_256.safetensors", "diffusion_pytorch_model.safetensors"]
    assert not any("up_blocks" in name for name, _ in tokenizer.encoder.named_modules())


@pytest.mark.medium
def test_one_encoder_only(folder):
    with pytest.raises(WeightsError, match="has an encoder of its own"):
        load_tokenizer(
            f"ssdd-official:checkpoint={folder}/F8C4/F8C4_M_256.safetensors,vae={folder}/vae"
        )
    bare = folder / "bare.safetensors"
    bare.symlink_to(folder / "SDVAE_S_256.safetensors")
    with pytest.raises(WeightsError, match=r"no encoder.*vae=DIR"):
        load_tokenizer("ssdd-official", checkpoint=str(bare))


@pytest.mark.medium
def test_a_licence_comes_before_a_download(folder, monkeypatch):
    asked = []

    def snapshot(repo, *, revision, allow_patterns, **_):
        asked.append((repo, revision[:7], *allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.delenv("SSDD_BENCH_ACCEPT_LICENCE", raising=False)
    with pytest.raises(WeightsError, match=r"licensed CC-BY-NC-4\.0, for non-commercial use only"):
        load_tokenizer("ssdd-official")
    assert asked == []
    load_tokenizer("ssdd-official:accept_licence=true")
    monkeypatch.setenv("SSDD_BENCH_ACCEPT_LICENCE", "CC-BY-NC-4.0")
    load_tokenizer("ssdd-official")
    assert asked == [("facebook/SSDD", "a297428", "F8C4/F8C4_M_256.safetensors")] * 2
    assert TOKENIZERS.all()["ssdd-official"].licence == "CC-BY-NC-4.0"


def test_files_lie_in_a_folder_for_each_latent():
    published = TOKENIZERS.all()["ssdd-official"].published
    latents = [Path(file).stem.partition("_")[0] for file in published.files[:-1]]
    assert [Path(file).parent.name for file in published.files] == [*latents, ""]
    assert {Path(file).stem.removesuffix("_256") for file in published.bytes} <= BYTES.keys()
    for file, size in published.bytes.items():
        assert file in published.files
        assert BYTES[Path(file).stem.removesuffix("_256")] == size


def test_names(monkeypatch):
    monkeypatch.setenv("SSDD_BENCH_ACCEPT_LICENCE", "")
    sizes = ("S", "B", "M", "L", "XL")
    released = [f"{latent}_{size}_256" for latent, size in product(LATENTS, sizes)]
    released += [f"SDVAE_{size}_256" for size in "SBML"] + ["demo_f8c4_M_128"]
    files = TOKENIZERS.all()["ssdd-official"].published.files
    assert sorted(released) == sorted(Path(file).stem for file in files)
    for name in released:
        with pytest.raises(WeightsError, match=f"^{name} is licensed"):
            load_tokenizer("ssdd-official", checkpoint=name)
    for wrong in ("SDVAE_XL_256", "F8C4_H_256"):
        with pytest.raises(UnknownNameError, match="unknown SSDD checkpoint"):
            load_tokenizer("ssdd-official", checkpoint=wrong)
    with pytest.raises(WeightsError, match=r"F8C4_S_256\.safetensors"):
        load_tokenizer("ssdd-official", checkpoint="missing/F8C4_S_256.safetensors")
