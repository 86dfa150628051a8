"""Loss of SSDD's stages, by their formulas."""

from dataclasses import replace

import pytest
import torch
from small_recipe import small

from ssdd_bench.flow.path import interpolate
from ssdd_bench.flow.schedule import logit_normal_times
from ssdd_bench.nn.decoder import DecoderSize, SSDDDecoder
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.files import save_weights
from ssdd_bench.train.recipe import Recipe, load_recipe
from ssdd_bench.train.stages.ssdd import DecoderLoss, DistillationStage, FlowMatchingStage

pytestmark = pytest.mark.usefixtures("quick_effnet")
RECIPE = small(load_recipe("mini-f8c4", Recipe))


@pytest.mark.medium
def test_the_encoder_learns_by_the_flow_its_distances_and_a_weighted_kl():
    torch.manual_seed(0)
    loss = replace(RECIPE.loss, perceptual_weight=0.7, repa_weight=0.2)
    weighted = replace(RECIPE.encoder, kl_weight=0.03)
    recipe = replace(RECIPE, loss=loss, encoder=weighted)
    stage = FlowMatchingStage("encoder", recipe).train()
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


@pytest.mark.medium
def test_the_student_is_compared_with_the_teachers_image_and_aligned_with_the_real_one(tmp_path):
    torch.manual_seed(0)
    loss = replace(RECIPE.loss, perceptual_weight=0.7, repa_weight=0.2)
    schedule = replace(RECIPE.distil, teacher_steps=3, teacher_power=2.0)
    recipe = replace(RECIPE, loss=loss, distil=schedule)
    before = FlowMatchingStage("encoder", recipe)
    save_weights(tmp_path / "best.safetensors", before.exported(before.networks.state_dict()))
    stage = DistillationStage(recipe, tmp_path / "best.safetensors").train()
    torch.nn.init.normal_(stage.student.conv_out.weight, std=0.05)  # no longer the teacher's
    tokens = []
    aligned = stage.student.mid_block.transformer_blocks[2]  # half way through four
    aligned.register_forward_hook(lambda block, inputs, output: tokens.append(output))
    images = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(1)) * 2 - 1
    terms, _ = stage(images, Shard(3, 2, 2, 4), None)

    generator = torch.Generator().manual_seed(stage.optimiser.seed * 1_000_003 + 12)
    noise = torch.randn((4, *images.shape[1:]), generator=generator)[2:]
    with torch.no_grad():
        z = stage.encoder(images).mean
        target = noise
        for now, then in ((1, 4 / 9), (4 / 9, 1 / 9), (1 / 9, 0)):
            target = target + (now - then) * stage.teacher(target, torch.full((2,), now), z)
        predicted = stage.student(noise, torch.ones(2), z)
        repa = stage.auxiliary["repa"](tokens[0], stage.loss.target(images))
    assert not torch.allclose(target, images, atol=0.1)
    torch.testing.assert_close(terms["flow"], (noise + predicted - target).square().mean())
    distance = stage.loss.distance(noise + predicted, target)
    torch.testing.assert_close(terms["perceptual"], 0.7 * distance)
    torch.testing.assert_close(terms["repa"], 0.2 * repa)
    assert terms.keys() == {"flow", "perceptual", "repa"}
    assert all(p.grad is None for p in stage.teacher.parameters())


@pytest.mark.medium
@pytest.mark.parametrize(("depth", "aligned"), [(4, 2), (8, 4), (16, 4)])
def test_the_fifth_block_is_aligned_or_the_one_half_way(depth, aligned):
    decoder = SSDDDecoder(DecoderSize((8, 8, 8, 8), 1, depth, groups=2))
    DecoderLoss(RECIPE, decoder, 32)
    hooked = [bool(one._forward_hooks) for one in decoder.mid_block.transformer_blocks]
    assert [place for place, one in enumerate(hooked) if one] == [aligned]
