import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssdd_bench.api import Latent, LatentSpec
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import WeightsError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer

CONFIG = {
    "block_out_channels": [8, 8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "latent_channels": 3,
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "scaling_factor": 0.5,
    "shift_factor": 0.25,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def model() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(**CONFIG).eval()


@pytest.fixture
def folder(model: AutoencoderKL, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def images() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.medium
def test_contract(folder: Path) -> None:
    assert check_tokenizer(f"klvae:path={folder}", resolution=32) == []


@pytest.mark.medium
@pytest.mark.weights
def test_contract_of_the_mini_weights() -> None:
    folder = TOKENIZERS.all()["klvae"].folder / "weights"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not in this checkout")
    assert check_tokenizer("klvae", resolution=32) == []


def test_sizes_come_from_the_configuration(folder: Path, model: AutoencoderKL) -> None:
    tokenizer = load_tokenizer("klvae", path=str(folder))
    assert tokenizer.latent == LatentSpec("continuous", f=4, channels=3)
    assert tokenizer.weights == (folder / WEIGHTS,)
    facts = {"class": "AutoencoderKL", "scaling_factor": 0.5, "shift_factor": 0.25}
    assert tokenizer.info() == facts
    # The two convolutions around the latent belong to a network as well.
    counted = sum(p.numel() for n in tokenizer.networks().values() for p in n.parameters())
    assert counted == sum(p.numel() for p in model.parameters())


def test_a_sample_is_mean_plus_std_times_the_noise(folder: Path, model: AutoencoderKL) -> None:
    tokenizer = load_tokenizer("klvae", path=str(folder))
    sampled = tokenizer.encode(images(), KeyedNoise(0, "ab", "encode"))
    with torch.no_grad():
        posterior = model.encode(2 * images() - 1).latent_dist
    noise = KeyedNoise(0, "ab", "encode").normal((3, 4, 6))
    expected = (posterior.mean + posterior.std * noise - 0.25) * 0.5
    assert isinstance(sampled.data, Tensor)
    torch.testing.assert_close(sampled.data, expected)


def test_subfolder(folder: Path) -> None:
    spec = f"klvae:path={folder.parent},subfolder={folder.name}"
    assert load_tokenizer(spec).weights == (folder / WEIGHTS,)


def test_half_precision_file_with_a_card(model: AutoencoderKL, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    save_file({name: value.half() for name, value in model.state_dict().items()}, file)
    file.with_suffix(".json").write_text(json.dumps({"config": CONFIG, "stage": "klvae"}))
    tokenizer = load_tokenizer("klvae", path=str(file))
    assert tokenizer.weights == (file,)
    parameters = [p for n in tokenizer.networks().values() for p in n.parameters()]
    assert {p.dtype for p in parameters} == {torch.float32}
    latent = tokenizer.encode(images())
    assert isinstance(latent, Latent)


def test_old_names_of_the_attention_are_understood(folder: Path) -> None:
    new = load_tokenizer("klvae", path=str(folder)).encode(images())
    old_names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value."}
    state = {}
    for name, value in load_file(folder / WEIGHTS).items():
        for modern, old in old_names.items():
            name = name.replace(modern, old)
        state[name.replace(".to_out.0.", ".proj_attn.")] = value
    assert any(".query." in name for name in state)
    save_file(state, folder / WEIGHTS)
    old = load_tokenizer("klvae", path=str(folder)).encode(images())
    assert isinstance(new.data, Tensor)
    assert isinstance(old.data, Tensor)
    assert torch.equal(new.data, old.data)


def rewrite(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        change(state)
        save_file(state, folder / WEIGHTS)

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), f"{WEIGHTS}: no such file"),
        (
            lambda folder: (folder / "config.json").unlink(),
            "config.json: No such file or directory",
        ),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: damaged JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json: not a JSON obj"),
        (
            lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:999]),
            "damaged or not a safetensors file",
        ),
        (rewrite(lambda state: state.pop("encoder.conv_in.bias")), "1 missing: encoder.conv_in.b"),
        (rewrite(lambda state: state.update(more=torch.zeros(1))), "1 unexpected: more"),
        (
            rewrite(lambda state: state.update({"encoder.conv_in.bias": torch.zeros(9)})),
            "1 of another shape: encoder.conv_in.bias (9,) instead of (8,)",
        ),
    ],
)
def test_a_damaged_model_is_one_line(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(WeightsError) as caught:
        load_tokenizer("klvae", path=str(folder))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "mine.json: No such file or directory"),
        ("{}", "no key 'config'"),
        ('{"config": {"block_out_channels": [8], "norm_num_groups": 3}}', "builds no Autoencoder"),
    ],
)
def test_a_wrong_card_is_one_line(
    model: AutoencoderKL, tmp_path: Path, card: str | None, message: str
) -> None:
    file = tmp_path / "mine.safetensors"
    save_file(model.state_dict(), file)
    if card is not None:
        file.with_suffix(".json").write_text(card)
    with pytest.raises(WeightsError) as caught:
        load_tokenizer("klvae", path=str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["/no/such/folder", "no-such-folder", "./a/b", "a/b/c"])
def test_what_is_no_folder_and_no_hub_id_is_not_looked_for_in_the_net(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", pytest.fail)
    with pytest.raises(WeightsError, match="no such folder"):
        load_tokenizer("klvae", path=path)


def test_a_hub_id_is_fetched_without_pickles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def fetch(repo: str, *, revision: str | None, allow_patterns: list[str], **_: object) -> str:
        asked.update(repo=repo, revision=revision, files=allow_patterns)
        shutil.copytree(folder, folder.parent / "cache" / "vae")
        return str(folder.parent / "cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    tokenizer = load_tokenizer("klvae:path=someone/model,subfolder=vae,revision=v1")
    assert tokenizer.weights == (folder.parent / "cache" / "vae" / WEIGHTS,)
    assert asked == {
        "repo": "someone/model",
        "revision": "v1",
        "files": ["vae/config.json", f"vae/{WEIGHTS}", f"vae/{WEIGHTS}.index.json"],
    }


def test_an_unreachable_model_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        load_tokenizer("klvae:path=someone/model")
    assert "someone/model cannot be fetched" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", ["subfolder=vae", "revision=v1"])
def test_options_of_folders_do_not_go_with_files(options: str) -> None:
    with pytest.raises(WeightsError, match="subfolder or revision"):
        load_tokenizer(f"klvae:{options}")


def test_a_folder_has_no_revision(folder: Path) -> None:
    with pytest.raises(WeightsError, match="a folder has no revision"):
        load_tokenizer(f"klvae:path={folder},revision=v1")
