"""Pipelines whose models lie in the memory of the CPU until they are needed."""

import numpy as np
import pytest
from tiny_pipelines import call, make_stable_diffusion

from ssdd_bench.diffusers import AutoencoderSSDD


@pytest.mark.parametrize("way", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_offloaded_models_decode_to_the_same_images(device, way):
    if device.type != "cuda":
        pytest.skip("diffusers offloads from an accelerator only")
    vae = AutoencoderSSDD.from_mini("f8c4")
    plain = call(make_stable_diffusion(vae).to(device))
    pipe = make_stable_diffusion(AutoencoderSSDD.from_mini("f8c4"))
    getattr(pipe, way)(device=device)
    found = call(pipe)
    np.testing.assert_allclose(found, plain, atol=2e-2)
    assert np.abs(found - plain).mean() < 1e-3
    pipe.maybe_free_model_hooks()
    assert {one.device.type for one in pipe.vae.parameters()} <= {"cpu", "meta"}
