"""AutoencoderSSDD as an autoencoder: numbers, noise, tiles, files, number formats."""

import json
import math

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from sample_images import sample_images

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.diffusers import AutoencoderSSDD
from ssdd_bench.errors import OptionError, ResolutionError, UserError
from ssdd_bench.plugins.registry import load_tokenizer

RAW = {"channel_mean": [], "channel_std": []}
TINY = {
    "block_out_channels": (8, 16, 32, 32),
    "decoder_block_out_channels": (16, 32, 64, 64),
    "decoder_attention_heads": 4,
    "decoder_transformer_layers": 4,
}


@pytest.fixture(scope="module")
def mini():
    return AutoencoderSSDD.from_mini("f8c4")


@pytest.fixture(scope="module")
def photos():
    return torch.cat(list(sample_images(64, 2)))


def make_tiny(**config):
    torch.manual_seed(0)
    model = AutoencoderSSDD(**(TINY | config)).eval()
    for parameter in model.parameters():  # also those that start at zero
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model


@pytest.mark.medium
@torch.no_grad()
@pytest.mark.parametrize("name", ["f8c4", pytest.param("f16c4-multistep", marks=pytest.mark.slow)])
def test_numbers_are_those_of_the_tokenizer_to_the_bit(name, photos):
    model = AutoencoderSSDD.from_mini(name, **RAW)
    f = 8 if name.startswith("f8") else 16
    tokenizer = load_tokenizer("diffusion" if "multistep" in name else "ssdd", f=f)
    latent = tokenizer.encode((photos + 1) / 2)
    z = model.encode(photos).latent_dist.mode()
    assert torch.equal(z, latent.data)
    noise = KeyedNoise(7, "ab", "decode").normal((3, 64, 64))
    expected = tokenizer.decode(latent, KeyedNoise(7, "ab", "decode"))
    assert torch.equal((model.decode(z, noise=noise).sample + 1) / 2, expected)
    alone = tokenizer.reconstruct((photos[:1] + 1) / 2)  # its noise of seed 0 is the fixed one
    assert torch.equal(((model(photos[:1]).sample + 1) / 2).clamp(0, 1), alone)


@pytest.mark.medium
@torch.no_grad()
def test_latents_are_standardised_inside(mini, photos):
    raw = AutoencoderSSDD.from_mini("f8c4", **RAW)
    mean, std = (
        torch.tensor(mini.config[key]).view(1, -1, 1, 1) for key in ("channel_mean", "channel_std")
    )
    posterior, other = raw.encode(photos).latent_dist, mini.encode(photos).latent_dist
    torch.testing.assert_close(other.mode(), (posterior.mode() - mean) / std)
    torch.testing.assert_close(other.std, posterior.std / std)
    a, b = (model.decode(model.encode(photos).latent_dist.mode()).sample for model in (raw, mini))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)
    assert (mini.config.scaling_factor, mini.config.shift_factor) == (1.0, 0.0)
    assert (a - photos).abs().mean() < 0.15  # it decodes the image, not noise


@pytest.mark.medium
@torch.no_grad()
def test_samples_of_the_posterior_need_a_generator_to_be_reproducible(mini, photos):
    posterior = mini.encode(photos).latent_dist
    a, b = (posterior.sample(torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, posterior.mode())


@pytest.mark.medium
@torch.no_grad()
def test_an_image_depends_neither_on_its_batch_nor_on_slicing(photos):
    model = make_tiny()
    z = torch.randn(2, 4, 8, 8)
    both = model.decode(z).sample
    apart = torch.cat([model.decode(one).sample for one in z.split(1)])
    torch.testing.assert_close(both, apart, atol=1e-5, rtol=0)
    generator = torch.Generator()
    drawn = model.decode(z, generator=generator.manual_seed(1)).sample
    model.enable_slicing()
    assert torch.equal(model.decode(z).sample, apart)
    sliced = model.decode(z, generator=generator.manual_seed(1)).sample
    torch.testing.assert_close(sliced, drawn, atol=1e-5, rtol=0)
    assert (drawn - both).abs().max() > 0.1
    assert len(model.encode(photos).latent_dist.mode()) == 2


@pytest.mark.medium
@torch.no_grad()
def test_tuples_and_steps(photos):
    model = make_tiny()
    (posterior,) = model.encode(photos, return_dict=False)
    z = posterior.mode()
    (image,) = model.decode(z, return_dict=False)
    assert torch.equal(image, model(photos, return_dict=False)[0])
    more = make_tiny(steps=3)
    assert (more.decode(z).sample - image).abs().max() > 1e-3


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("f", [4, 16])
def test_tiles_agree_with_the_whole_image_but_for_what_they_do_not_see(f):
    widths = {4: (8, 16, 32), 16: (8, 16, 32, 32, 32)}[f]
    model = make_tiny(block_out_channels=widths)
    x = torch.rand(1, 3, 96, 64) * 2 - 1
    z = model.encode(x).latent_dist.mode()
    whole = model.decode(z).sample
    model.enable_tiling(64, 0.25)
    assert model.encode(x).latent_dist.mode().shape == z.shape
    tiled = model.decode(z).sample
    assert tiled.shape == whole.shape
    own = [model.decode(z, noise=torch.randn(1, 3, 96, 64)).sample for _ in range(2)]
    assert (tiled - whole).abs().mean() < 0.3 * (own[0] - own[1]).abs().mean()
    small = x[..., :64, :64]
    model.disable_tiling()
    expected = model(small).sample
    model.enable_tiling(64)
    assert torch.equal(model(small).sample, expected)  # one tile is the image
    with pytest.raises(OptionError, match="tile is 60"):
        model.enable_tiling(60)


@pytest.mark.slow
@torch.no_grad()
def test_tiles_of_a_photo(mini):
    """Tiles of the trained networks lose little on a photo."""
    (photo,) = sample_images(256, 1)
    model = AutoencoderSSDD.from_mini("f8c4")
    whole = model(photo).sample
    model.enable_tiling(128, 0.25)
    tiled = model(photo).sample
    psnr = 10 * torch.log10(4 / (tiled - whole).square().mean())
    assert 25 < psnr < 60
    errors = [(image - photo).square().mean() for image in (tiled, whole)]
    assert errors[0] < 1.1 * errors[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_pushed_to_the_hub(hub, tmp_path, monkeypatch):
    # diffusers speaks to the Hub that was known when its library was imported.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", hub.url)
    model = make_tiny(steps=3, channel_std=[1.0, 2.0, 3.0, 4.0])
    model.push_to_hub("someone/tiny-ssdd")
    (repository,) = hub.repositories.values()
    for name, data in repository.files.items():
        (tmp_path / name).write_bytes(data)
    again = AutoencoderSSDD.from_pretrained(tmp_path)
    assert (again.config.steps, again.config.channel_std) == (3, [1.0, 2.0, 3.0, 4.0])
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    assert AutoencoderSSDD.from_pretrained(tmp_path, steps=2).config.steps == 2


@pytest.mark.medium
@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(photos, dtype):
    model = make_tiny()
    expected = model(photos).sample
    model = model.to(dtype)
    found = model(photos.to(dtype)).sample
    assert found.dtype == dtype
    error = (found.float() - expected).abs().mean()
    assert 0 < error < 0.05 * expected.abs().mean()


@pytest.mark.medium
@torch.no_grad()
@pytest.mark.parametrize("compute", [None, torch.bfloat16])
def test_weights_stored_in_eight_bits(mini, photos, compute):
    expected = mini(photos).sample
    model = AutoencoderSSDD.from_mini("f8c4")
    model.enable_layerwise_casting(torch.float8_e4m3fn, compute)
    stored = [one.numel() for one in model.parameters() if one.dtype == torch.float8_e4m3fn]
    assert sum(stored) > 0.9 * sum(one.numel() for one in model.parameters())
    found = model(photos.to(model.dtype)).sample
    assert found.dtype == (compute or torch.float32)
    assert 0 < (found - expected).abs().mean() < 0.1  # 0.05 and 0.03
    errors = [(image - photos).square().mean() for image in (found, expected)]
    assert errors[0] < 1.2 * errors[1]


@pytest.mark.slow
def test_gradient_checkpointing(photos):
    model = make_tiny().train()
    small = photos[:1, :, :32, :32]

    def gradients():
        loss = model(small).sample.square().mean()
        return torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)

    kept = gradients()
    model.enable_gradient_checkpointing()
    assert model.is_gradient_checkpointing
    for a, b in zip(gradients(), kept, strict=True):
        assert a is b is None or torch.equal(a, b)
    model.disable_gradient_checkpointing()
    assert not model.is_gradient_checkpointing


@pytest.mark.slow
@pytest.mark.skipif(
    torch.__version__.startswith("2.6."), reason="it fails on diffusers' decorator of methods"
)
@torch.no_grad()
def test_decoding_compiles_without_a_graph_break():
    model = make_tiny(block_out_channels=(8, 16, 32))
    z = torch.randn(1, 4, 8, 8)
    expected = model.decode(z).sample
    decode = torch.compile(model.decode, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(decode(z).sample, expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_offloaded_weights_are_asked_for_by_every_call(photos):
    """A pipeline calls ``encode`` and ``decode``, which a hook of ``forward`` does not see."""
    model, calls = make_tiny(), []

    class Load(ModelHook):
        def pre_forward(self, module, *args, **kwargs):
            calls.append(module)
            return args, kwargs

    add_hook_to_module(model, Load())
    z = model.encode(photos).latent_dist.mode()
    model.decode(z)
    model.standardise([photos])
    assert calls == [model] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        *({"steps": steps} for steps in (0, -1, 1.5, "2", True, None)),
        *({"channel_std": std} for std in ([0, 1, 1, 1], [-1, 1, 1, 1], [1, 1], "abcd", 3)),
        {"channel_std": ["1", 1, 1, 1]},
        {"channel_std": [math.nan, 1, 1, 1]},
        {"channel_std": torch.ones(4)},
        *({"channel_mean": mean} for mean in ([1.0], [None] * 4, [math.inf, 0, 0, 0])),
        *({"scaling_factor": factor} for factor in (0, -0.0, math.nan, math.inf, "1", None)),
        {"shift_factor": math.nan},
        {"t_pow_shift": 0},
        {"noise_seed": 0.5},
        {"latent_channels": "4"},
        {"block_out_channels": (8, 8, 8, 8)},
    ],
    ids=str,
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))) as caught:
        AutoencoderSSDD(**(TINY | wrong))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("widths", "advice"),
    [
        ((16, 16, 32, 32), r"\(16, 16, 32, 32\)\. Pass four multiples of 32"),
        ((32, 32, 64), "Pass four multiples of 32"),
        ((32, 32, 64, 32), "3 attention heads"),
    ],
)
def test_widths_that_no_decoder_has_are_refused(widths, advice):
    wrong = {"decoder_block_out_channels": widths, "decoder_attention_heads": 3}
    with pytest.raises(OptionError, match=advice):
        AutoencoderSSDD(**(TINY | wrong))


@pytest.mark.medium
@pytest.mark.parametrize("wrong", [{"steps": 1.5}, {"channel_std": [0, 1, 1, 1]}], ids=str)
def test_wrong_values_in_a_folder_are_refused(tmp_path, wrong):
    make_tiny().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | wrong
    (tmp_path / "config.json").write_text(json.dumps(config))
    (file,) = tmp_path.glob("*.safetensors")
    for load in (
        lambda: AutoencoderSSDD.from_pretrained(tmp_path),
        lambda: AutoencoderSSDD.from_single_file(file),
        lambda: load_tokenizer(f"diffusers:path={tmp_path}"),
    ):
        with pytest.raises(UserError, match=next(iter(wrong))):
            load()


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (2, 3, 16, 16), (2, 1, 32, 32)])
def test_noise_of_another_shape_is_refused(shape):
    model = make_tiny(block_out_channels=(8, 16, 32))
    with pytest.raises(ResolutionError, match=r"\(2, 3, 32, 32\)"):
        model.decode(torch.zeros(2, 4, 8, 8), noise=torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 8, 4, 4), (1, 1, 4, 4), (4, 4, 4)])
@pytest.mark.parametrize("config", [{}, {"channel_std": [2.0] * 4}])
def test_latents_of_another_shape_are_refused(shape, config):
    with pytest.raises(ResolutionError, match=r"\(B, 4, h, w\)") as caught:
        make_tiny(**config).decode(torch.zeros(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize(
    ("batches", "error"),
    [
        ([], OptionError),
        ([torch.zeros(1, 3, 36, 36)], ResolutionError),
        ([torch.zeros(1, 3, 8, 8)], OptionError),  # one value per channel
    ],
)
def test_statistics_that_cannot_be_measured_leave_the_former(batches, error):
    model = make_tiny(channel_mean=[1.0] * 4, channel_std=[2.0] * 4)
    with pytest.raises(error):
        model.standardise(batches)
    assert model.config.channel_mean == [1.0] * 4
    assert model.config.channel_std == [2.0] * 4


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ResolutionError, match=r"36 x 32 px.*multiples of 8"):
        make_tiny().encode(torch.zeros(1, 3, 32, 36))
