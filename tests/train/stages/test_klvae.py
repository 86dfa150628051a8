"""Loss of the KL-VAE, by its formula."""

from dataclasses import replace

import pytest
import torch
from small_recipe import small

from ssdd_bench.errors import OptionError
from ssdd_bench.train.batches import Shard
from ssdd_bench.train.recipe import Recipe, load_recipe
from ssdd_bench.train.stages.klvae import KLVAEStage, make_autoencoder

pytestmark = pytest.mark.usefixtures("quick_effnet")
RECIPE = small(load_recipe("mini-f8c4", Recipe))
SHARD = Shard(3, 2, 2, 4)


def made(**klvae):
    torch.manual_seed(0)
    loss = replace(RECIPE.loss, perceptual_weight=0.7)
    recipe = replace(RECIPE, loss=loss, klvae=replace(RECIPE.klvae, kl_weight=0.03, **klvae))
    return KLVAEStage(recipe).train()


@pytest.fixture(scope="module")
def images():
    return torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(1)) * 2 - 1


def decoded(stage, images):
    """The posterior, and the reconstruction of its sample from the shard's noise."""
    found = stage.vae.encode(images).latent_dist
    seed = stage.optimiser.seed * 1_000_003 + 12  # of the batch that follows three of four images
    shape = (4, *found.mean.shape[1:])
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))[2:]
    return found, stage.vae.decode(found.mean + (found.logvar / 2).exp() * noise).sample


@pytest.mark.medium
def test_terms_are_l1_perceptual_distance_and_kl_with_their_weights(images):
    stage = made()
    terms, pair = stage(images, SHARD, None)
    found, output = decoded(stage, images)
    assert terms.keys() == {"l1", "perceptual", "kl"}
    torch.testing.assert_close(terms["l1"], (output - images).abs().mean())
    torch.testing.assert_close(terms["perceptual"], 0.7 * stage.distance(output, images))
    kl = 0.5 * (found.mean.square() + found.var - 1 - found.logvar).sum((1, 2, 3))
    torch.testing.assert_close(terms["kl"], 0.03 * kl.mean())
    assert pair["real"] is images
    torch.testing.assert_close(pair["fake"], output)
    assert not pair["fake"].requires_grad


@pytest.mark.medium
def test_the_adversarial_term_has_a_weight_of_its_own_and_the_adaptive_one(images):
    stage = made(gan_weight=0.4)
    discriminator, start = stage.make_discriminator()
    assert start == RECIPE.klvae.gan_start
    terms, _ = stage(images, SHARD, discriminator)
    _, output = decoded(stage, images)
    generated = discriminator.generator_loss(output)
    last = stage.vae.decoder.conv_out.weight
    reconstruction = (output - images).abs().mean() + 0.7 * stage.distance(output, images)
    (a,) = torch.autograd.grad(reconstruction, last, retain_graph=True)
    (b,) = torch.autograd.grad(generated, last)
    ratio = a.norm() / (b.norm() + 1e-4)
    assert abs(ratio - 1) > 0.05
    torch.testing.assert_close(terms["gan"], 0.4 * ratio * generated)


def test_without_a_weight_there_is_no_discriminator():
    assert made(gan_weight=0.0).make_discriminator() is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"block_out_channls": [16]}, "block_out_channls"),
        ({"norm_num_groups": 7}, "divisible by num_groups"),
        ({"down_block_types": ["Other"] * 4}, "Other"),
        ({"block_out_channels": 16}, "int"),
    ],
)
def test_wrong_arguments_of_the_network(arguments, words):
    recipe = load_recipe("mini-f8c4", Recipe)
    model = replace(recipe.model, klvae=recipe.model.klvae | arguments)
    with pytest.raises(OptionError, match=words):
        make_autoencoder(replace(recipe, model=model))
