"""The discriminator's layers, its hinge loss and its weight, in numbers worked out beforehand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssdd_bench.train.losses.gan import PatchDiscriminator, adaptive_weight

WIDTH = 8


@pytest.fixture
def discriminator():
    torch.manual_seed(0)
    return PatchDiscriminator(WIDTH)


def test_width_of_latent_diffusion():
    with torch.device("meta"):
        made = PatchDiscriminator()
    assert made.layers[0].weight.shape == (64, 3, 4, 4)


def test_layers(discriminator):
    """Against the same network written out; in training mode, as it is used."""
    x = torch.linspace(-1, 1, 2 * 3 * 64 * 64).reshape(2, 3, 64, 64)
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    layers = [module for module in discriminator.modules() if isinstance(module, kinds)]
    first, *middle, last = layers
    assert [m.weight.shape[:2] for m in middle[::2]] == [(16, 8), (32, 16), (64, 32)]
    assert all(m.bias is None for m in middle[::2])
    want = F.leaky_relu(F.conv2d(x, first.weight, first.bias, stride=2, padding=1), 0.2)
    for conv, norm, stride in zip(middle[::2], middle[1::2], (2, 2, 1), strict=True):
        want = F.conv2d(want, conv.weight, stride=stride, padding=1)
        want = F.batch_norm(want, None, None, norm.weight, norm.bias, training=True)
        want = F.leaky_relu(want, 0.2)
    want = F.conv2d(want, last.weight, last.bias, stride=1, padding=1)
    assert want.shape == (2, 1, 6, 6)
    torch.testing.assert_close(discriminator.logits(x), want)


def test_first_weights(discriminator):
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            centre = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
            weights = module.weight.detach()
            assert weights.std() == pytest.approx(0.02, rel=0.35)
            assert weights.mean() == pytest.approx(centre, abs=0.01)
            assert module.bias is None or not module.bias.any()


def test_losses_of_known_logits():
    discriminator = PatchDiscriminator(1)
    discriminator.layers = nn.Identity()
    real, fake = torch.tensor([-1.0, 0.5, 3.0]), torch.tensor([-2.0, 0.5, 2.0])
    terms = discriminator(real, fake)
    assert terms.keys() == {"discriminator"}
    assert terms["discriminator"].item() == pytest.approx(0.5 * (2.5 / 3 + 4.5 / 3))
    assert discriminator.generator_loss(fake).item() == pytest.approx(-0.5 / 3)
    assert discriminator.logits(fake.bfloat16()).dtype == torch.float32


def test_the_generators_loss_reaches_the_images_alone(discriminator):
    discriminator.zero_grad()
    fake = torch.zeros(2, 3, 32, 32, requires_grad=True)
    discriminator.generator_loss(fake).backward()
    assert fake.grad is not None
    assert all(one.grad is None for one in discriminator.parameters())
    assert all(one.requires_grad for one in discriminator.parameters())


@pytest.mark.parametrize(
    ("adversarial", "weight"),
    [((0.0, 2.0), 5 / 2.0001), ((8.0, 6.0), 5 / 10.0001), ((0.0, 1e-4), 1e4)],
)
def test_adaptive_weight(adversarial, weight):
    """The ratio of gradients of lengths 5 and 2, 10 or next to none; both graphs stay."""
    layer = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = [(layer * torch.tensor(one)).sum() for one in ((3.0, 4.0), adversarial)]
    found = adaptive_weight(*losses, layer)
    assert found.item() == pytest.approx(weight, rel=1e-6)
    assert not found.requires_grad
    for loss in losses:
        loss.backward()
    assert layer.grad.tolist() == pytest.approx([3 + adversarial[0], 4 + adversarial[1]])
