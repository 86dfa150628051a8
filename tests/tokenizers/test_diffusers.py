"""Named and unnamed diffusers models: small twins of every class, at full size on request."""

import gc
import json
from pathlib import Path

import diffusers
import huggingface_hub
import pytest
import torch
from diffusers.models.autoencoders import consistency_decoder_vae
from diffusers.schedulers import scheduling_consistency_decoder
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssdd_bench.api import Latent
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import ResolutionError, WeightsError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer
from ssdd_bench.weights.models import load_model

WEIGHTS = "diffusion_pytorch_model.safetensors"
FOLDER = TOKENIZERS.all()["diffusers"].folder
CONFIGS = json.loads((FOLDER / "configs.json").read_text())

# What makes each published configuration small; the rest of it stays as it is.
KL = {"block_out_channels": [8, 8, 16, 16], "norm_num_groups": 4, "layers_per_block": 1}
SMALL = {
    "sd-vae-ft-mse": KL,
    "sd-vae-ft-ema": KL,
    "sdxl-vae": KL,
    "sd3-vae": KL,
    "flux-vae": KL,
    "flux2-vae": KL,
    "asymmetric-vae": {
        "down_block_out_channels": [8, 8, 16, 16],
        "up_block_out_channels": [8, 16, 16, 32],
        "layers_per_up_block": 2,
        "norm_num_groups": 4,
    },
    "dc-ae-f32c32": {
        "attention_head_dim": 8,
        "encoder_block_out_channels": [8, 8, 16, 16, 32, 32],
        "decoder_block_out_channels": [8, 8, 16, 16, 32, 32],
        "encoder_layers_per_block": [0, 1, 1, 1, 1, 1],
        "decoder_layers_per_block": [0, 1, 1, 1, 1, 1],
    },
    "dc-ae-f64c128": {
        "attention_head_dim": 8,
        "encoder_block_out_channels": [8, 8, 16, 16, 32, 32, 128],
        "decoder_block_out_channels": [8, 8, 16, 16, 32, 32, 128],
        "encoder_layers_per_block": [0, 1, 1, 1, 1, 1, 1],
        "decoder_layers_per_block": [0, 1, 1, 1, 1, 1, 1],
    },
    "flux2-small-decoder": KL | {"decoder_block_out_channels": [8, 8, 8, 16]},
    "dc-ae-f32c32-sana": {
        "attention_head_dim": 8,
        "encoder_block_out_channels": [8, 8, 16, 16, 32, 32],
        "decoder_block_out_channels": [8, 8, 16, 16, 32, 32],
        "encoder_layers_per_block": [1, 1, 1, 1, 1, 1],
        "decoder_layers_per_block": [1, 1, 1, 1, 1, 1],
    },
    "qwen-image-vae": {"base_dim": 8, "num_res_blocks": 1},
    "qwen-image-21-vae": {"base_dim": 8, "decoder_base_dim": 8, "num_res_blocks": 1},
    "wan21-vae": {"base_dim": 8, "num_res_blocks": 1},
    "hunyuan-video-vae": {
        "block_out_channels": [8, 8, 8, 8],
        "norm_num_groups": 4,
        "layers_per_block": 1,
    },
    "kvae-2d": {"channels": 32, "ch_mult": [1, 1, 1, 1], "num_enc_blocks": 1, "num_dec_blocks": 1},
    "rae-dinov2-b": {
        "encoder_num_hidden_layers": 1,
        "decoder_hidden_size": 32,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 32,
        "encoder_input_size": 56,
        "image_size": 64,
    },
    "vq-amused": {
        "block_out_channels": [8, 8, 8, 16, 16],
        "norm_num_groups": 4,
        "layers_per_block": 1,
        "latent_channels": 8,
    },
    "consistency-decoder": {
        "encoder_block_out_channels": [8, 8, 16, 16],
        "encoder_layers_per_block": 1,
        "encoder_norm_num_groups": 4,
        "decoder_block_out_channels": [32, 32, 32, 32],
        "decoder_layers_per_block": 1,
    },
}


def models() -> dict[str, TokenizerInfo]:
    return {info.id: info for info in TOKENIZERS.all().values() if info.folder == FOLDER}


def build(config):
    """A random model whose images stay in range and whose statistics are those of no identity."""
    torch.manual_seed(0)
    model = getattr(diffusers, config["_class_name"]).from_config(config).eval()
    if norm := getattr(model, "bn", None):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    if hasattr(model, "quantize"):
        model.quantize.embedding.weight.data.normal_()
    if last := getattr(getattr(model, "decoder", None), "conv_out", None):
        for parameter in last.parameters():
            parameter.data *= 0.1
    if hasattr(model, "_latents_mean"):  # of the shape in the published file
        latents = (config["encoder_hidden_size"], *(config["image_size"] // 16,) * 2)
        model._latents_mean = torch.empty(latents).uniform_(-1, 1)
        model._latents_std = torch.empty(latents).uniform_(0.5, 2)
    return model


def save(model, folder):
    model.save_pretrained(folder)
    if hasattr(model, "_latents_mean"):  # a published config.json does not hold them
        config = json.loads((folder / "config.json").read_text())
        config.update(latents_mean=None, latents_std=None)
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """Give the folder of a small twin, by name."""
    made: dict[str, Path] = {}

    def make(name):
        if name not in made:
            model = build({**CONFIGS[name], **SMALL[name]})
            made[name] = save(model, tmp_path_factory.mktemp(name))
        return made[name]

    return make


def side(name):
    return {"dc-ae-f64c128": 128, "rae-dinov2-b": 64, "vq-amused": 64}.get(name, 32)


def images(name, count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, side(name), side(name), generator=generator)


def reference(name, folder):
    return getattr(diffusers, CONFIGS[name]["_class_name"]).from_pretrained(folder).eval()


def test_every_model_has_a_configuration_and_a_twin():
    """But for those whose configuration no public document was found for."""
    assert CONFIGS.keys() == SMALL.keys()
    for name in models().keys() - {"diffusers"} - CONFIGS.keys():
        assert "latents" in models()[name].published.unconfirmed


@pytest.mark.slow
def test_parameters_are_those_of_the_configuration():
    for name, config in CONFIGS.items():
        with torch.device("meta"):
            model = getattr(diffusers, config["_class_name"]).from_config(config)
        count = sum(parameter.numel() for parameter in model.parameters())
        assert models()[name].published.parameters == count, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("eq-vae", "sd-vae-ft-mse"),
        ("e2e-flux-vae", "flux-vae"),
        ("e2e-qwenimage-vae", "qwen-image-vae"),
        ("dc-ae-lite-f32c32", "dc-ae-f32c32-sana"),
    ],
)
def test_a_model_of_unknown_configuration_is_loaded_by_its_folder(name, other, twin):
    tokenizer = load_tokenizer(name, path=str(twin(other)))
    assert tokenizer.latent == models()[name].latent
    assert load_tokenizer(name, path=str(twin(other) / WEIGHTS)).latent == tokenizer.latent


def test_a_scale_that_is_not_confirmed_is_not_compared(twin, tmp_path):
    config = json.loads((twin("dc-ae-f32c32") / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"scaling_factor": 0.5}))
    (tmp_path / WEIGHTS).symlink_to(twin("dc-ae-f32c32") / WEIGHTS)
    assert load_tokenizer("dc-ae-f32c32", path=str(tmp_path)).info()["scaling_factor"] == 0.5


QUICK = "vq-amused", "sd3-vae", "dc-ae-f32c32"
"""One of each kind: codes, a KL-VAE, a deep compression autoencoder."""


@pytest.mark.medium
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SMALL],
)
def test_contract(name, twin):
    assert check_tokenizer(f"{name}:path={twin(name)}", side(name)) == []


@pytest.mark.slow
@pytest.mark.full_size
@pytest.mark.parametrize("name", SMALL)
def test_contract_at_full_size(name, tmp_path):
    save(build(CONFIGS[name]), tmp_path)
    gc.collect()
    resolution = {"rae-dinov2-b": 256, "dc-ae-f64c128": 128}.get(name, 64)
    problems = check_tokenizer(f"{name}:path={tmp_path}", resolution)
    (tmp_path / WEIGHTS).unlink()  # gigabytes, which pytest would keep
    assert problems == []


@pytest.mark.medium
@pytest.mark.parametrize("name", SMALL)
def test_latents_have_the_published_shape_and_scale(name, twin):
    info, tokenizer = models()[name], load_tokenizer(name, path=str(twin(name)))
    assert tokenizer.latent == info.latent
    found = tokenizer.info()
    if "scaling_factor" in found and not info.published.normalisation:
        assert found["scaling_factor"] == info.published.scaling_factor
        assert found["shift_factor"] == info.published.shift_factor


AFFINE = ["sd3-vae", "dc-ae-f32c32"]  # with a shift and without; adapters are tested for each class


@pytest.mark.medium
@torch.no_grad()
@pytest.mark.parametrize("name", AFFINE)
def test_latents_are_shifted_and_scaled_and_decoding_undoes_it(name, twin):
    tokenizer, model = load_tokenizer(name, path=str(twin(name))), reference(name, twin(name))
    x, published = images(name), models()[name].published
    encoded = model.encode(2 * x - 1)
    z = encoded.latent if "latent" in encoded else encoded.latent_dist.mode()
    latent = tokenizer.encode(x)
    torch.testing.assert_close(latent.data, (z - published.shift_factor) * published.scaling_factor)
    expected = (model.decode(z).sample + 1) / 2
    decoded = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
    torch.testing.assert_close(decoded, expected, atol=1e-4, rtol=1e-4)

    # The twin that forgets the scale on one side is found out.
    tokenizer._scale = 1.0
    forgetful = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
    assert (forgetful - expected).abs().max() > 1e-3


@pytest.mark.medium
@torch.no_grad()
def test_flux2_standardises_the_cells_of_a_patch(twin):
    tokenizer = load_tokenizer("flux2-vae", path=str(twin("flux2-vae")))
    model = reference("flux2-vae", twin("flux2-vae"))
    x = images("flux2-vae")
    z = model.encode(2 * x - 1).latent_dist.mode()
    latent = tokenizer.encode(x)
    patches = diffusers.Flux2Pipeline._patchify_latents(z)
    mean = model.bn.running_mean.view(1, -1, 1, 1)
    std = (model.bn.running_var.view(1, -1, 1, 1) + model.config.batch_norm_eps).sqrt()
    expected = diffusers.Flux2Pipeline._unpatchify_latents((patches - mean) / std)
    torch.testing.assert_close(latent.data, expected)
    decoded = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
    torch.testing.assert_close(decoded, (model.decode(z).sample + 1) / 2, atol=1e-4, rtol=1e-4)
    with pytest.raises(ResolutionError, match="multiple of 16"):
        tokenizer.encode(torch.rand(1, 3, 24, 24))


@pytest.mark.slow
@torch.no_grad()
def test_rae_normalises_itself_and_takes_one_size(twin):
    tokenizer = load_tokenizer("rae-dinov2-b", path=str(twin("rae-dinov2-b")))
    file = load_file(twin("rae-dinov2-b") / WEIGHTS)
    model, _ = load_model(twin("rae-dinov2-b"))
    assert torch.equal(model._latents_mean, file["_latents_mean"])
    x = images("rae-dinov2-b")
    latent = tokenizer.encode(x)
    torch.testing.assert_close(latent.data, model.encode(x).latent)
    decoded = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
    torch.testing.assert_close(decoded, model.decode(latent.data).sample)
    with pytest.raises(ResolutionError, match="Choose resolution 64"):
        tokenizer.encode(torch.rand(1, 3, 32, 32))


@pytest.mark.medium
@torch.no_grad()
def test_vq_gives_the_indices_of_the_nearest_codes(twin):
    tokenizer = load_tokenizer("vq-amused", path=str(twin("vq-amused")))
    model = reference("vq-amused", twin("vq-amused"))
    x = images("vq-amused")
    latent = tokenizer.encode(x)
    h = model.encode(2 * x - 1).latents
    cells = h.permute(0, 2, 3, 1).flatten(0, 2)
    distances = (cells[:, None] - model.quantize.embedding.weight[None]).square().sum(-1)
    assert torch.equal(latent.data.flatten(), distances.argmin(1))
    assert tokenizer.latent.bits_per_value == 13
    assert tokenizer.info()["codebook_size"] == 8192
    decoded = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
    expected = model.decode(latent.data, force_not_quantize=True, shape=(2, 4, 4, 8)).sample
    torch.testing.assert_close(decoded, (expected + 1) / 2, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_consistency_decoder_samples_as_diffusers_does(twin, monkeypatch):
    name = "consistency-decoder"
    tokenizer, model = load_tokenizer(name, path=str(twin(name))), reference(name, twin(name))
    x = images(name)
    latent = tokenizer.encode(x)
    z = model.encode(2 * x - 1).latent_dist.mode()
    torch.testing.assert_close(latent.data, z * 0.18215)

    noise = KeyedNoise(0, "ab", "decode")
    for module in (consistency_decoder_vae, scheduling_consistency_decoder):
        monkeypatch.setattr(module, "randn_tensor", lambda shape, **_: noise.normal(shape[1:]))
    expected = (model.decode(z).sample + 1) / 2
    decoded = tokenizer.decode(latent, KeyedNoise(0, "ab", "decode"))
    torch.testing.assert_close(decoded, expected, atol=1e-4, rtol=1e-4)

    one = load_tokenizer(f"{name}:steps=1,path={twin(name)}")
    assert (tokenizer.steps, one.steps) == (2, 1)
    first = one.decode(latent, KeyedNoise(0, "ab", "decode"))
    assert (first - expected).abs().max() > 1e-3


@pytest.mark.medium
def test_tiny_autoencoder_by_its_folder(tmp_path):
    torch.manual_seed(0)
    diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    ).save_pretrained(tmp_path)
    assert load_tokenizer("diffusers", path=str(tmp_path)).latent.f == 4
    assert check_tokenizer(f"diffusers:path={tmp_path}", 32) == []


@pytest.mark.medium
def test_a_pipelines_folder_will_do_for_a_named_model(twin, tmp_path):
    (tmp_path / "vae").symlink_to(twin("flux-vae"))
    assert load_tokenizer("flux-vae", path=str(tmp_path)).weights == (tmp_path / "vae" / WEIGHTS,)
    assert load_tokenizer(f"diffusers:path={tmp_path},subfolder=vae").latent.channels == 16


@pytest.mark.slow
def test_a_weights_file_alone_is_built_by_the_published_configuration(twin, tmp_path):
    file = tmp_path / "model.safetensors"
    file.symlink_to(twin("sdxl-vae") / WEIGHTS)
    with pytest.raises(WeightsError, match="does not fit AutoencoderKL"):  # the twin is small
        load_tokenizer("sdxl-vae", path=str(file))
    with pytest.raises(WeightsError, match=r"model\.safetensors has no config\.json"):
        load_tokenizer("diffusers", path=str(file))


@pytest.mark.medium
def test_a_weights_file_beside_its_configuration_is_taken_and_no_other(tmp_path):
    model = build({**CONFIGS["sdxl-vae"], **KL})
    for variant in (None, "fp16"):
        model.save_pretrained(tmp_path, variant=variant)
        model.decoder.conv_out.bias.data += 1
    for name in (WEIGHTS, "diffusion_pytorch_model.fp16.safetensors"):
        tokenizer = load_tokenizer("diffusers", path=str(tmp_path / name))
        assert tokenizer.weights == (tmp_path / name,)
        bias = load_file(tmp_path / name)["decoder.conv_out.bias"]
        assert torch.equal(tokenizer.model.decoder.conv_out.bias, bias)
        assert load_tokenizer(str(tmp_path / name)).weights == (tmp_path / name,)


@pytest.mark.medium
def test_a_model_in_several_files(twin, tmp_path):
    reference("vq-amused", twin("vq-amused")).save_pretrained(tmp_path, max_shard_size="50KB")
    tokenizer = load_tokenizer("diffusers", path=str(tmp_path))
    assert tokenizer.weights == tuple(sorted(tmp_path.glob("*.safetensors")))
    assert len(tokenizer.weights) > 1
    x, whole = images("vq-amused"), load_tokenizer("diffusers", path=str(twin("vq-amused")))
    assert torch.equal(tokenizer.encode(x).data, whole.encode(x).data)


@pytest.mark.medium
def test_a_pickle_of_tensors_is_read_and_another_is_not(twin, tmp_path):
    state = load_file(twin("sdxl-vae") / WEIGHTS)
    file = tmp_path / "diffusion_pytorch_model.bin"
    (tmp_path / "config.json").write_text((twin("sdxl-vae") / "config.json").read_text())
    torch.save(state, file)
    assert load_tokenizer("sdxl-vae", path=str(tmp_path)).weights == (file,)
    torch.save({"weight": Latent([], (1, 1))}, file)  # a class of ours: code, for a pickle
    with pytest.raises(WeightsError, match="holds more than tensors"):
        load_tokenizer("sdxl-vae", path=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("sdxl-vae", {"scaling_factor": 0.18215}, "its scaling_factor is 0.18215, the publ"),
        ("sd3-vae", {"shift_factor": None}, "its shift_factor is 0.0, the published one 0.0609"),
        ("sdxl-vae", {"_class_name": "UNet2DModel"}, "no adapter for class UNet2DModel"),
        ("sdxl-vae", {"_class_name": None}, "no adapter for class None"),
        ("sdxl-vae", {"block_out_channels": [8, 8, 9, 16]}, "builds no AutoencoderKL"),
    ],
)
def test_another_model_under_a_published_name_is_refused(name, change, message, twin, tmp_path):
    config = json.loads((twin(name) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    save_file(load_file(twin(name) / WEIGHTS), tmp_path / WEIGHTS)
    with pytest.raises(WeightsError) as caught:
        load_tokenizer(name, path=str(tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_of_another_shape_is_refused(twin):
    with pytest.raises(WeightsError, match="its latent is LatentSpec"):
        load_tokenizer("dc-ae-f64c128", path=str(twin("dc-ae-f32c32")))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("diffusers", "path=DIR or a Hub id as repo=ID"),
        ("diffusers:path=a,repo=b/c", "a was given beside"),
        ("sdxl-vae:path=no-such-folder", "no-such-folder/config.json"),
        ("sdxl-vae:path=no-such-folder,revision=main", "no-such-folder was given beside"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_asks_no_network(spec, message, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", pytest.fail)
    with pytest.raises(WeightsError, match=message):
        load_tokenizer(spec)


def test_a_pipelines_folder_needs_the_subfolder(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match="Pass subfolder=vae"):
        load_tokenizer("diffusers", path=str(tmp_path))


@pytest.mark.medium
def test_the_hub_is_asked_for_the_files_of_one_revision(twin, tmp_path, monkeypatch):
    asked = {}

    def snapshot(repo, *, revision, allow_patterns, local_files_only, etag_timeout):
        asked.update(repo=repo, revision=revision, files=allow_patterns, local=local_files_only)
        return str(tmp_path)

    (tmp_path / "vae").symlink_to(twin("flux-vae"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.delenv("SSDD_BENCH_OFFLINE", raising=False)
    load_tokenizer("flux-vae")
    published = models()["flux-vae"].published
    assert asked == {
        "repo": published.hub,
        "revision": published.revision,
        "files": ["vae/config.json", f"vae/{WEIGHTS}", f"vae/{WEIGHTS}.index.json"],
        "local": False,
    }
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    load_tokenizer("diffusers:repo=someone/model,subfolder=vae,revision=v1")
    assert (asked["repo"], asked["revision"], asked["local"]) == ("someone/model", "v1", True)


@pytest.mark.medium
def test_a_model_published_as_a_pickle_is_asked_for_by_its_name(twin, tmp_path, monkeypatch):
    asked = []

    def snapshot(repo, *, allow_patterns, **_):
        asked.append((repo, *allow_patterns))
        return str(tmp_path)

    for name in ("config.json", WEIGHTS):
        (tmp_path / name).symlink_to(twin("asymmetric-vae") / name)
    torch.save(load_file(tmp_path / WEIGHTS), tmp_path / "diffusion_pytorch_model.bin")
    (tmp_path / WEIGHTS).unlink()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.delenv("SSDD_BENCH_OFFLINE", raising=False)
    weights = load_tokenizer("asymmetric-vae").weights
    assert weights == (tmp_path / "diffusion_pytorch_model.bin",)
    (one,) = asked
    assert one[0] == models()["asymmetric-vae"].published.hub
    assert one[1:] == ("config.json", "diffusion_pytorch_model.bin")


def test_offline_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="SSDD_BENCH_OFFLINE is set") as caught:
        load_tokenizer("sd-vae-ft-mse")
    assert "\n" not in str(caught.value)


def test_a_gated_model_says_what_to_do(monkeypatch):
    class GatedRepoError(OSError):
        pass

    def snapshot(repo, **_):
        raise GatedRepoError("403 and a page of text\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.delenv("SSDD_BENCH_OFFLINE", raising=False)
    with pytest.raises(WeightsError, match="accept its licence there and log in") as caught:
        load_tokenizer("sd3-vae")
    assert "\n" not in str(caught.value)


def test_half_precision(twin):
    tokenizer = load_tokenizer("flux2-vae", path=str(twin("flux2-vae"))).to("cpu", torch.bfloat16)
    latent = tokenizer.encode(images("flux2-vae"))
    assert isinstance(latent.data, Tensor)
    assert latent.data.dtype == torch.float32
    assert tokenizer.decode(latent, KeyedNoise(0, "ab", "decode")).dtype == torch.float32
