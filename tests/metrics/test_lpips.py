"""LPIPS against the authors' package and torchmetrics, with one random backbone for all."""

import warnings

import lpips as package
import pytest
import torch
import torchvision
from torchmetrics.functional.image.lpips import _LPIPS as TorchmetricsLPIPS

from ssdd_bench.errors import WeightsError
from ssdd_bench.metrics import lpips as module
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.lpips import load_lpips, pad_to_power_of_two


@pytest.fixture(scope="module", params=["alex", pytest.param("vgg", marks=pytest.mark.slow)])
def backbone(request, tmp_path_factory):
    """(net, file, classifier): the convolutions of torchvision's classifier, at random."""
    torch.manual_seed(0)
    make = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[request.param]
    with torch.device("meta"):
        network = make(weights=None)
    layers = network.features.to_empty(device="cpu")
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    torch.save({f"features.{k}": v for k, v in layers.state_dict().items()}, path)
    return request.param, path, layers


@pytest.fixture
def metric(backbone, monkeypatch):
    net, path, _ = backbone
    monkeypatch.setattr(module, "require", lambda name: path)
    return find_metrics()[f"lpips_{net}"].make()


@pytest.fixture
def pair(photo_like, noisy):
    a = photo_like(3)
    return a, noisy(a, 20)


def scores(metric, a, b):
    return torch.tensor(metric.score(a, b))


def scaled(images):
    return images.float() / 127.5 - 1


def reference_network(net, layers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    for slice_ in network.net.children():
        for number, layer in slice_.named_children():
            layer.load_state_dict(layers[int(number)].state_dict())
    return network.eval()


@pytest.mark.slow
@torch.no_grad()
def test_equals_the_package(backbone, metric, pair):
    net, _, layers = backbone
    expected = reference_network(net, layers)
    wanted = [expected(scaled(x[None]), scaled(y[None])).item() for x, y in zip(*pair, strict=True)]
    assert metric.score(*pair) == wanted
    unscaled = [expected(x[None] / 255, y[None] / 255).item() for x, y in zip(*pair, strict=True)]
    assert unscaled != pytest.approx(wanted, rel=1e-2)  # [0, 1] in place of [-1, 1]


@torch.no_grad()
def test_equals_torchmetrics(backbone, metric, pair):
    net, _, layers = backbone
    other = TorchmetricsLPIPS(net=net, pretrained=True, pnet_rand=True, eval_mode=True)
    for slice_ in other.net.children():
        for number, layer in slice_.named_children():
            layer.load_state_dict(layers[int(number)].state_dict())
    wanted = other(scaled(pair[0]), scaled(pair[1])).flatten()
    torch.testing.assert_close(scores(metric, *pair), wanted, rtol=1e-5, atol=1e-7)


def test_identity_symmetry_and_batches(metric, pair):
    a, b = pair
    assert metric.score(a, a) == [0, 0, 0]
    assert metric.score(a, b) == metric.score(b, a)
    assert metric.score(a, b) == [metric.score(x[None], y[None])[0] for x, y in zip(a, b)]  # noqa: B905


def test_padding(backbone, monkeypatch, photo_like, noisy):
    net, path, _ = backbone
    monkeypatch.setattr(module, "require", lambda name: path)
    info = find_metrics()[f"lpips_{net}"]
    plain, padded = info.make(), info.make(options=MetricOptions(lpips_padding=True))
    a = photo_like(1, side=80)
    b = noisy(a, 20)
    assert padded.score(a, b) != plain.score(a, b)
    assert padded.score(a[..., :64, :64], b[..., :64, :64]) == plain.score(
        a[..., :64, :64], b[..., :64, :64]
    )


def test_zeros_go_to_the_right_and_the_bottom():
    x = pad_to_power_of_two(torch.ones(1, 3, 5, 8))
    assert x.shape == (1, 3, 8, 8)
    assert x[..., :5, :].all()
    assert not x[..., 5:, :].any()


def test_another_classifier_is_refused(tmp_path):
    path = tmp_path / "resnet.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="not the backbone"):
        load_lpips("alex", path)


def test_changed_heads_are_refused(backbone, monkeypatch):
    net, path, _ = backbone
    monkeypatch.setitem(module.HEADS, net, "0" * 64)
    with pytest.raises(WeightsError, match="reinstall lpips"):
        load_lpips(net, path)
