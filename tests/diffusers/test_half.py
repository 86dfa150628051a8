"""AutoencoderSSDD in 16 bits and with weights that lie elsewhere, in pipelines of diffusers."""

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, cpu_offload_with_hook, init_empty_weights
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, attach_align_device_hook
from diffusers import DiTPipeline
from tiny_pipelines import (
    call,
    make_dit,
    make_stable_diffusion,
    make_stable_diffusion_xl,
    sample_classes,
)

from ssdd_bench.diffusers import AutoencoderSSDD

CPU = torch.device("cpu")
HALVES = (torch.float16, torch.bfloat16)


@pytest.fixture
def vae():
    return AutoencoderSSDD.from_mini("f8c4")


def in_half(run, dtype):
    """Return what a run returns; skip where the kernels of a CPU lack the number format."""
    try:
        return run()
    except (RuntimeError, NotImplementedError) as error:
        if "not implemented" not in str(error):
            raise
        pytest.skip(f"torch {torch.__version__} on a CPU, {dtype}: {error}")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    ("make", "run"), [(make_dit, sample_classes), (make_stable_diffusion, call)], ids=["dit", "sd"]
)
def test_images_of_16_bits_are_those_of_32_with_rounding(vae, make, run, dtype):
    pipe = make(vae)
    plain = np.asarray(run(pipe))
    normals = [torch.randn(32, generator=torch.manual_seed(0), dtype=one) for one in (dtype, None)]
    if not torch.allclose(normals[0].float(), normals[1], atol=0.05):
        pytest.skip(f"torch {torch.__version__} samples other latents in {dtype}")
    pipe.to(dtype)
    assert {one.dtype for one in pipe.vae.parameters()} == {dtype}
    half = np.asarray(in_half(lambda: run(pipe), dtype))
    assert np.isfinite(half).all()
    assert 0 < np.abs(half - plain).mean() < 0.05
    assert np.array_equal(in_half(lambda: run(pipe), dtype), half)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch_dtype`:FutureWarning")  # the oldest version has no other
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_pipeline_is_loaded_in_16_bits(vae, tmp_path, dtype):
    make_dit(vae).save_pretrained(tmp_path)
    pipe = DiTPipeline.from_pretrained(tmp_path, torch_dtype=dtype)
    assert pipe.vae.dtype == dtype
    pipe.set_progress_bar_config(disable=True)
    expected = in_half(lambda: sample_classes(make_dit(vae).to(dtype)), dtype)
    # A seed makes the transformer, whose embeddings of positions are rounded at other moments.
    found = in_half(lambda: sample_classes(pipe), dtype)
    assert (found - expected).abs().mean() < 0.01


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:`upcast_vae`:FutureWarning")  # of the pipeline, for itself
def test_a_pipeline_that_upcasts_decodes_in_float32(vae):
    """Pipelines of SDXL ask the layer after the latents for the dtype that they decode in."""
    vae.register_to_config(force_upcast=True)
    pipe = make_stable_diffusion_xl(vae)
    embeddings = {"prompt_embeds": torch.zeros(1, 4, 8), "pooled_prompt_embeds": torch.zeros(1, 8)}
    settings = {"guidance_scale": 1.0, "num_inference_steps": 1, "output_type": "pt"}
    decoded = []
    original = vae.decode

    def decode(z, **more):
        decoded.append((z.dtype, vae.dtype))
        return original(z, **more)

    vae.to(torch.float16).decode = decode
    assert pipe(**embeddings, **settings).images.isfinite().all()
    assert decoded == [(torch.float32, torch.float32)]


@pytest.mark.slow
def test_weights_that_come_for_each_layer_change_no_image(vae):
    """Offload as enable_sequential_cpu_offload does, which accelerate cannot do for "cpu:0"."""
    pipe = make_stable_diffusion(vae)
    plain = call(pipe)
    cpu_offload(pipe.vae, CPU)
    assert {one.device.type for one in pipe.vae.parameters()} == {"meta"}
    np.testing.assert_allclose(call(pipe), plain, atol=1e-4)
    assert {one.device.type for one in pipe.vae.parameters()} == {"meta"}


@pytest.mark.medium
def test_a_model_made_without_memory_takes_its_weights_from_a_map(vae):
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = vae(images).sample
    with init_empty_weights():
        empty = AutoencoderSSDD.from_config(vae.config)
    empty.eval()
    attach_align_device_hook(empty, CPU, offload=True, weights_map=vae.state_dict())
    add_hook_to_module(empty, AlignDevicesHook(CPU, io_same_device=True), append=True)
    assert {one.device.type for one in empty.parameters()} == {"meta"}
    z = empty.encode(images).latent_dist.mode()
    torch.testing.assert_close(empty.decode(z).sample, expected, atol=1e-4, rtol=0)


@pytest.mark.slow
@torch.no_grad()
def test_a_device_map_may_leave_the_decoder_on_the_disk(vae, tmp_path):
    """Hooks on every module copy its lists, and move what has weights."""
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = vae(images).sample
    vae.save_pretrained(tmp_path / "saved")
    offloaded = AutoencoderSSDD.from_pretrained(
        tmp_path / "saved",
        device_map={"encoder": "cpu", "decoder": "disk"},
        offload_folder=tmp_path / "disk",
    )
    assert {one.device.type for one in offloaded.decoder.parameters()} == {"meta"}
    z = offloaded.encode(images).latent_dist.mode()
    torch.testing.assert_close(offloaded.decode(z).sample, expected, atol=1e-4, rtol=0)


@pytest.mark.medium
def test_encode_and_decode_call_the_hook_that_brings_the_model(vae, monkeypatch):
    """Offload as enable_model_cpu_offload does: the UNet leaves when the decoder is called.

    A pipeline calls ``decode``, and not the module, which alone would call its hook.
    """
    pipe = make_stable_diffusion(vae)
    plain = call(pipe)
    pipe.unet, before = cpu_offload_with_hook(pipe.unet, execution_device="cpu")
    pipe.vae, hook = cpu_offload_with_hook(
        pipe.vae, execution_device="cpu", prev_module_hook=before
    )
    called = []
    original = hook.hook.pre_forward

    def watch(module, *args, **kwargs):
        called.append(module)
        return original(module, *args, **kwargs)

    monkeypatch.setattr(hook.hook, "pre_forward", watch)
    np.testing.assert_allclose(call(pipe), plain, atol=1e-4)
    assert called == [vae]
    vae.encode(torch.zeros(1, 3, 32, 32))
    assert called == [vae, vae]
    hook.offload()
    hook.remove()
    assert not hasattr(vae, "_hf_hook")
    np.testing.assert_allclose(call(pipe), plain, atol=1e-4)
