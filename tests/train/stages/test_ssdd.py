"""Loss of SSDD's stages, by their formulas."""

from dataclasses import replace

import pytest
import torch
from small_recipe import small

from ssdd_bench.flow.path import interpolate
from ssdd_bench.flow.schedule import logit_normal_times
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.recipe import Recipe, load_recipe
from ssdd_bench.train.stages.ssdd import FlowMatchingStage

pytestmark = pytest.mark.usefixtures("quick_effnet")
RECIPE = small(load_recipe("mini-f8c4", Recipe))


@pytest.mark.medium
def test_the_encoder_learns_by_the_flow_its_distances_and_a_weighted_kl():
    torch.manual_seed(0)
    loss = replace(RECIPE.loss, kl_weight=0.03, perceptual_weight=0.7, repa_weight=0.2)
    stage = FlowMatchingStage("encoder", replace(RECIPE, loss=loss)).train()
    images = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(1)) * 2 - 1
    terms, more = stage(images, Shard(3, 2, 2, 4), None)
    posterior = stage.encoder(images)
    kl = 0.5 * (posterior.mean.square() + posterior.logvar.exp() - 1 - posterior.logvar).sum(
        (1, 2, 3)
    )
    torch.testing.assert_close(terms["kl"], 0.03 * kl.mean())
    generator = torch.Generator().manual_seed(stage.optimiser.seed * 1_000_003 + 12)
    noise = torch.randn((4, *posterior.mean.shape[1:]), generator=generator)[2:]
    z = posterior.mean + (posterior.logvar / 2).exp() * noise
    noise = torch.randn((4, *images.shape[1:]), generator=generator)[2:]
    t = logit_normal_times(4, generator, stage.flow.time_mean, stage.flow.time_std)[2:]
    x_t = interpolate(images, noise, t)
    predicted = stage.decoder(x_t, t, z)
    torch.testing.assert_close(terms["flow"], (predicted - (images - noise)).square().mean())
    x0 = x_t + t.view(-1, 1, 1, 1) * predicted
    torch.testing.assert_close(terms["perceptual"], 0.7 * stage.loss.distance(x0, images))
    assert terms.keys() == {"flow", "perceptual", "repa", "kl"}
    assert not more
