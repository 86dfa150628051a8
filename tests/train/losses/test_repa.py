"""Targets of REPA in the order of the decoder's tokens, and the cosine of its head."""

import math
import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssdd_bench.errors import UnavailableError
from ssdd_bench.metrics.features import dinov2
from ssdd_bench.metrics.features.dinov2 import resize_positions
from ssdd_bench.train.losses import repa as module
from ssdd_bench.train.losses.repa import REPA, DINOv2Target, EffNetTarget


@pytest.mark.medium
def test_effnet_features_are_at_stride_16_of_twice_the_size(distance, monkeypatch):
    monkeypatch.setattr(module, "EfficientNetLite1", lambda: distance.network)
    images = torch.rand(1, 3, 16, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = EffNetTarget(16)(images.requires_grad_())
    assert found.shape == (1, 2 * 4, 112)
    assert not found.requires_grad
    large = F.interpolate(images.detach(), size=(32, 64), mode="bicubic")
    maps = distance.network(large, (14,))[0]
    torch.testing.assert_close(found[0], maps[0].permute(1, 2, 0).reshape(8, 112))


class Tokens(nn.Module):
    """Network whose only features are the means of its input's patches, after one prefix token."""

    num_prefix_tokens = 1

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward_features(self, x):
        means = F.avg_pool2d(self.scale * x, 14).flatten(2).transpose(1, 2)
        return torch.cat([torch.full_like(means[:, :1], 9), means], dim=1)


def test_dinov2_is_given_what_it_was_trained_on(monkeypatch, tmp_path):
    asked = []
    path = tmp_path / "dinov2_vitb14.pth"
    table = torch.randn(1, 26, 2, generator=torch.Generator().manual_seed(0))
    torch.save({"pos_embed": table}, path)
    monkeypatch.setattr(dinov2, "require", lambda name: tmp_path / f"{name}.pth")
    timm = ModuleType("timm")
    timm.create_model = lambda name, **given: asked.append((name, given)) or Tokens()
    monkeypatch.setitem(sys.modules, "timm", timm)
    target = DINOv2Target(24)
    assert asked == [
        (
            "vit_base_patch14_dinov2.lvd142m",
            {
                "pretrained": True,
                "pretrained_cfg_overlay": {"file": str(path)},
                "img_size": 42,
                "num_classes": 0,
            },
        )
    ]
    torch.testing.assert_close(target.network.pos_embed.data, resize_positions(table, 3))
    assert not target.network.training
    assert not any(one.requires_grad for one in target.parameters())
    assert target.channels == 768
    images = torch.stack([torch.full((24, 24), value) for value in (-1.0, 0.0, 0.5)])[None]
    found = target(images)
    expected = [(0 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.75 - 0.406) / 0.225]
    assert found.shape == (1, 3 * 3, 3)
    torch.testing.assert_close(found, torch.tensor(expected).expand(1, 9, 3), rtol=1e-5, atol=1e-5)
    ramp = torch.linspace(-1, 1, 24).expand(1, 3, 24, 24)
    resized = F.interpolate((ramp + 1) / 2, size=(42, 42), mode="bicubic")
    red = F.avg_pool2d(resized[:, :1], 14).flatten()
    torch.testing.assert_close(target(ramp)[0, :, 0], (red - 0.485) / 0.229, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_whole_dinov2_takes_the_size_of_a_stage(monkeypatch, tmp_path):
    import timm

    name = "vit_base_patch14_dinov2.lvd142m"
    path = tmp_path / "dinov2_vitb14.pth"
    state = timm.create_model(name, num_classes=0).state_dict()
    torch.save(state, path)
    monkeypatch.setattr(dinov2, "require", lambda name: path)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    assert DINOv2Target(64)(images).shape == (1, 8 * 8, 768)


def test_timm_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnavailableError, match=r"\[dinov2\]"):
        DINOv2Target(16)


def test_head_and_its_first_weights():
    torch.manual_seed(0)
    first, between, last = REPA(64, 3).head
    assert isinstance(between, nn.SiLU)
    assert (first.weight.shape, last.weight.shape) == ((64, 64), (3, 64))
    for layer in (first, last):
        bound = math.sqrt(6 / sum(layer.weight.shape))
        assert 0.9 * bound < layer.weight.abs().max() <= bound  # Glorot and Bengio 2010
        assert not layer.bias.any()


def test_one_minus_the_mean_cosine():
    made = REPA(2, 3)
    made.head = nn.Identity()
    tokens = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [3e-6, 4e-6], [1.0, 1.0]]]).double()
    wanted = torch.tensor([[[2.0, 0.0], [4.0, 3.0], [3.0, 4.0], [-1.0, -1.0]]])
    found = made(tokens, wanted)
    assert found.dtype == torch.float32
    # Cosines 1, 0.96, one of a length of 5e-6 that counts as 1e-5, and -1.
    assert found.item() == pytest.approx(1 - (1 + 0.96 + 0.5 - 1) / 4, rel=1e-5)
