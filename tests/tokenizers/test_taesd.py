"""The TAESD family: layouts, sizes inferred from tensors, and diffusers' networks as the oracle."""

import os
import re
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch import nn

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import WeightsError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer
from ssdd_bench.weights.files import sha256_file

TAEF2 = "SSDD_BENCH_TAEF2"  # the folder with the published files
F8 = {"taesd": 4, "taesdxl": 4, "taesd3": 16, "taef1": 16}


def conv(inner, outer, **options):
    return nn.Conv2d(inner, outer, 3, padding=1, **options)


class Branch(nn.Module):
    """Names and shapes of a residual block, which a file states and nothing else."""

    def __init__(self, inner, outer=None, pooled=False):
        super().__init__()
        outer = outer or inner
        layers = [conv(inner, outer), nn.ReLU(), conv(outer, outer), nn.ReLU(), conv(outer, outer)]
        self.conv = nn.Sequential(*layers)
        if outer != inner:
            self.skip = nn.Conv2d(inner, outer, 1, bias=False)
        if pooled:
            self.pool = nn.Sequential(
                nn.Conv2d(inner, 4 * inner, 1, bias=False),
                nn.GroupNorm(4, 4 * inner),
                nn.ReLU(),
                nn.Conv2d(4 * inner, inner, 1, bias=False),
            )


def taef2_networks():
    """Layer by layer as the published files number them: f8c32 with a pooled middle."""
    down, up = (lambda: conv(64, 64, stride=2, bias=False)), (lambda: conv(64, 64, bias=False))
    three = lambda pooled=False: [Branch(64, pooled=pooled) for _ in range(3)]  # noqa: E731
    encoder = [conv(3, 64), Branch(64), down(), *three(), down(), *three(), down(), *three(True)]
    decoder = [nn.Identity(), conv(32, 64), nn.ReLU(), *three(True), nn.Identity(), up()]
    decoder += [*three(), nn.Identity(), up(), *three(), nn.Identity(), up()]
    return nn.Sequential(*encoder, conv(64, 32)), nn.Sequential(*decoder, Branch(64), conv(64, 3))


def taesana_networks():
    """f32c32: two strided convolutions with activations first, a decoder that narrows."""
    encoder = [conv(3, 32, stride=2), nn.ReLU(), conv(32, 64, stride=2), nn.ReLU(), Branch(64)]
    for _ in range(3):
        encoder += [conv(64, 64, stride=2, bias=False), *(Branch(64) for _ in range(3))]
    decoder = [nn.Identity(), conv(32, 256), nn.ReLU()]
    for inner, outer in ((256, 128), (128, 64), (64, 64), (64, 64), (64, 64)):
        decoder += [Branch(inner) for _ in range(3)]
        decoder += [nn.Identity(), conv(inner, outer, bias=False)]
    return nn.Sequential(*encoder, conv(64, 32)), nn.Sequential(*decoder, Branch(64), conv(64, 3))


def save_original(folder, encoder, decoder):
    for role, network in (("encoder", encoder), ("decoder", decoder)):
        torch.save(network.state_dict(), folder / f"some_{role}.pth")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Give diffusers' network at full size, its file, and a folder in the original layout."""
    made = {}

    def make(channels):
        if channels not in made:
            torch.manual_seed(0)
            folder = tmp_path_factory.mktemp("tiny")
            model = AutoencoderTiny(latent_channels=channels).eval()
            model.save_pretrained(folder / "diffusers")
            file = folder / "diffusers" / "diffusion_pytorch_model.safetensors"
            states = {"encoder": {}, "decoder": {}}
            for name, value in model.state_dict().items():
                role, _, index, rest = re.fullmatch(r"(\w+)\.(\w+)\.(\d+)\.(.+)", name).groups()
                states[role][f"{int(index) + (role == 'decoder')}.{rest}"] = value
            for role, state in states.items():
                torch.save(state, folder / f"{role}.pth")
            made[channels] = model, file, folder
        return made[channels]

    return make


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(("name", "channels"), F8.items())
def test_both_layouts_equal_diffusers(name, channels, tiny):
    model, file, folder = tiny(channels)
    x = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    z = model.encode(2 * x - 1).latents
    expected = (model.decode(z).sample + 1) / 2
    for path in (file, folder):
        tokenizer = load_tokenizer(name, path=str(path))
        assert (tokenizer.latent.f, tokenizer.latent.channels) == (8, channels)
        latent = tokenizer.encode(x)
        torch.testing.assert_close(latent.data, z)
        decoded = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
        torch.testing.assert_close(decoded, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize(("name", "channels"), F8.items())
def test_contract(name, channels, tiny):
    assert check_tokenizer(f"{name}:path={tiny(channels)[2]}", resolution=16) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "networks", "f"), [("taef2", taef2_networks, 8), ("taesana", taesana_networks, 32)]
)
def test_contract_of_the_other_architectures(name, networks, f, tmp_path):
    torch.manual_seed(0)
    save_original(tmp_path, *networks())
    spec = f"{name}:path={tmp_path}"
    tokenizer = load_tokenizer(spec)
    assert (tokenizer.latent.f, tokenizer.latent.channels) == (f, 32)
    assert check_tokenizer(spec, resolution=32) == []


@pytest.mark.medium
def test_parameters_are_those_published(tiny):
    counts = {
        role: sum(parameter.numel() for parameter in network.parameters())
        for role, network in load_tokenizer(f"taesd:path={tiny(4)[2]}").networks().items()
    }
    assert counts == {"encoder": 1_222_532, "decoder": 1_222_531}  # as its README states


def drop_bias(state):
    state.pop("0.bias")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("1.conv.2.bias"), r"1 missing: 1\.conv\.2\.bias"),
        (lambda state: state.update({"1.extra": torch.zeros(1)}), r"1 unexpected: 1\.extra"),
        (lambda state: state.update(weight=torch.zeros(1)), "'weight' does not fit"),
        (lambda state: state.clear(), "does not fit"),
        (drop_bias, "f16c4, expected f8c4 for taesd"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(edit, message, tiny, tmp_path):
    state = torch.load(tiny(4)[2] / "encoder.pth", weights_only=True)
    edit(state)
    torch.save(state, tmp_path / "encoder.pth")
    (tmp_path / "decoder.pth").symlink_to(tiny(4)[2] / "decoder.pth")
    with pytest.raises(WeightsError, match=message) as caught:
        load_tokenizer("taesd", path=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_another_member_of_the_family_is_refused(tiny):
    with pytest.raises(WeightsError, match="f8c4, expected f8c16 for taef1"):
        load_tokenizer("taef1", path=str(tiny(4)[2]))


def test_what_is_in_the_folder_must_be_clear(tiny, tmp_path):
    with pytest.raises(WeightsError, match=r"0 files named \*encoder\*"):
        load_tokenizer("taesd", path=str(tmp_path))
    save_file({"weight": torch.zeros(1)}, tmp_path / "one.safetensors")
    with pytest.raises(WeightsError, match="'weight' is of no tiny autoencoder"):
        load_tokenizer("taesd", path=str(tmp_path / "one.safetensors"))
    with pytest.raises(WeightsError, match="path=DIR"):
        load_tokenizer("taesana")


def test_a_pickle_is_not_executed(tiny, tmp_path):
    torch.save({"0.weight": Path("code")}, tmp_path / "encoder.pth")
    (tmp_path / "decoder.pth").symlink_to(tiny(4)[2] / "decoder.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        load_tokenizer("taesd", path=str(tmp_path))


def test_the_joint_file_is_what_diffusers_saves(tiny):
    names = load_file(tiny(4)[1])
    assert {"encoder.layers.0.weight", "decoder.layers.0.weight"} <= names.keys()


@pytest.mark.weights
@torch.no_grad()
def test_the_published_taef2_reconstructs_photographs():
    """A wrong number of norm groups costs 5 dB; a latent that is not normalised has another std."""
    folder = os.environ.get(TAEF2, "")
    if not Path(folder).is_dir() or not folder:
        pytest.skip(f"set {TAEF2} to the folder with taef2_encoder.pth and taef2_decoder.pth")
    from ssdd_bench.data.images import open_images
    from ssdd_bench.data.loader import ImageLoader

    spec = f"taef2:path={folder}"
    assert check_tokenizer(spec, resolution=16) == []
    tokenizer = load_tokenizer(spec)
    (batch,) = ImageLoader(open_images(None, 4), 128, "adm", 4, True)
    x = batch.images.float() / 255
    latent = tokenizer.encode(x)
    decoded = tokenizer.decode(latent, KeyedNoise(0, batch.ids, "decode")).clamp(0, 1)
    psnr = -10 * (decoded - x).square().mean(dim=(1, 2, 3)).log10()
    assert psnr.mean() > 24
    assert 0.6 < latent.data.std() < 1.2
    info = TOKENIZERS.all()["taef2"]
    assert info.latent == tokenizer.latent
    assert info.published is not None
    files = {path.name: sha256_file(path) for path in tokenizer.weights}
    assert files == info.published.sha256
