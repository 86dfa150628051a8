"""Pipelines of diffusers with AutoencoderSSDD, and diffusion models of tiny random networks."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import (
    DDPMScheduler,
    DiTPipeline,
    StableDiffusionImg2ImgPipeline,
)
from sample_images import sample_images
from tiny_pipelines import call, make_dit, make_kl, make_stable_diffusion, make_unet, sample_classes

import ssdd_bench as sb
from ssdd_bench.diffusers import AutoencoderSSDD


@pytest.fixture(scope="module")
def vae():
    return AutoencoderSSDD.from_mini("f8c4")


@pytest.fixture(scope="module")
def f16():
    return AutoencoderSSDD.from_mini("f16c4")


@pytest.fixture(scope="module")
def photos():
    return torch.cat(list(sample_images(64, 2)))


@pytest.mark.medium
@pytest.mark.parametrize("name", ["vae", "f16"])
def test_sizes_come_from_the_configuration(name, request):
    model = request.getfixturevalue(name)
    pipe = make_stable_diffusion(model, side=4)
    assert pipe.vae_scale_factor == model.f
    assert call(pipe).shape == (1, 4 * model.f, 4 * model.f, 3)


@pytest.mark.medium
def test_stable_diffusion_is_reproducible_and_scales_once(vae):
    pipe = make_stable_diffusion(vae)
    first, again, other = call(pipe), call(pipe), call(pipe, seed=1)
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(3)
    image = pipe(
        prompt_embeds=torch.zeros(1, 4, 8),
        guidance_scale=1.0,
        num_inference_steps=1,
        latents=latents,
        output_type="latent",
    ).images
    expected = vae.decode(image, generator=generator).sample
    with torch.no_grad():
        found = pipe(
            prompt_embeds=torch.zeros(1, 4, 8),
            guidance_scale=1.0,
            num_inference_steps=1,
            latents=latents,
            generator=torch.Generator().manual_seed(3),
            output_type="pt",
        ).images
    torch.testing.assert_close(found, ((expected + 1) / 2).clamp(0, 1), atol=1e-5, rtol=0)


@pytest.mark.medium
def test_image_to_image_keeps_the_image_at_low_strength(vae, photos):
    pipe = make_stable_diffusion(vae, StableDiffusionImg2ImgPipeline)
    image = (photos[:1] + 1) / 2
    near = call(pipe, image=image, strength=0.34)
    plain = ((vae(photos[:1]).sample + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).detach().numpy()
    shuffled = plain[:, ::-1]
    assert np.abs(near - plain).mean() < 0.8 * np.abs(near - shuffled).mean()


def test_dit_passes_no_generator_and_is_reproducible(vae):
    pipe = make_dit(vae)
    images = sample_classes(pipe)
    assert images.shape == (2, 3, 64, 64)
    assert torch.equal(images, sample_classes(pipe))


@pytest.mark.medium
def test_a_pipeline_is_saved_and_loaded_with_it(vae, tmp_path):
    pipe = make_dit(vae)
    pipe.save_pretrained(tmp_path)
    again = DiTPipeline.from_pretrained(tmp_path)
    assert type(again.vae) is AutoencoderSSDD
    assert again.vae.config.channel_mean == list(vae.config.channel_mean)


@pytest.mark.slow
def test_slices_and_tiles_in_a_pipeline(vae):
    pipe = make_stable_diffusion(AutoencoderSSDD.from_mini("f8c4"))
    plain = call(pipe, prompts=2)
    pipe.vae.enable_slicing()
    np.testing.assert_allclose(call(pipe, prompts=2), plain, atol=1e-4)
    pipe.vae.enable_tiling(32)
    tiled = call(pipe, prompts=2)
    assert 0 < np.abs(tiled - plain).mean() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AutoencoderKL", "AutoencoderSSDD"])
def test_training_of_a_unet_changes_one_line(name, vae, photos):
    """The loop of diffusers' text-to-image example, in miniature."""
    vae = vae if name == "AutoencoderSSDD" else make_kl(8, 8, 8, 8)  # the line
    vae.requires_grad_(False)
    unet = make_unet()
    schedule = DDPMScheduler()
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(12):
        latents = vae.encode(photos).latent_dist.sample(generator)
        latents = latents * vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=generator)
        times = torch.randint(0, 1000, (len(latents),), generator=generator)
        noisy = schedule.add_noise(latents, noise, times)
        words = torch.zeros(len(latents), 4, 8)
        loss = F.mse_loss(unet(noisy, times, words).sample, noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert np.mean(losses[-4:]) < 0.97 * np.mean(losses[:4])


@pytest.mark.slow
def test_evaluation_takes_it_and_gives_the_tokenizers_scores(vae, tmp_path):
    settings = {"data": "sample", "resolution": 64, "limit": 2, "metrics": ["psnr"]}
    settings |= {"progress": False}
    found = sb.evaluate(vae, **settings)
    raw = AutoencoderSSDD.from_mini("f8c4", channel_mean=[], channel_std=[])
    exact = sb.evaluate(raw, **settings).metrics["psnr"].value
    expected = sb.evaluate("ssdd", **settings).metrics["psnr"].value
    assert exact == expected
    assert found.metrics["psnr"].value == pytest.approx(expected, abs=1e-2)
    assert found.tokenizer.stochastic
    vae.save_pretrained(tmp_path)
    loaded = sb.evaluate(f"diffusers:path={tmp_path}", **settings)
    assert loaded.metrics["psnr"].value == pytest.approx(expected, abs=1e-2)


@pytest.mark.medium
def test_the_old_decoder_is_swapped_in_three_lines(tmp_path, photos):
    from safetensors.torch import save_file

    from ssdd_bench.nn.decoder import SSDDDecoder

    pipe = make_stable_diffusion(make_kl(8, 8, 8, 8, scaling_factor=0.5))
    before = call(pipe)
    state = SSDDDecoder("mini", 4).state_dict()
    file = tmp_path / "decoder.safetensors"
    save_file({f"decoder.{key}": value for key, value in state.items()}, file)

    pipe.vae = AutoencoderSSDD.from_single_file(file, vae=pipe.vae, steps=1)
    after = call(pipe)
    assert after.shape == before.shape
    assert pipe.vae.config.scaling_factor == 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(call(pipe), after)
