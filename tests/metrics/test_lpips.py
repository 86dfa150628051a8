"""LPIPS against the authors' package and torchmetrics, with one random backbone for all."""

import hashlib
import warnings
from importlib.metadata import version
from pathlib import Path

import lpips as package
import pytest
import torch
import torchvision

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


@pytest.mark.medium
def test_identity_symmetry_and_batches(metric, pair):
    a, b = pair
    assert metric.score(a, a) == [0, 0, 0]
    assert metric.score(a, b) == metric.score(b, a)
    assert metric.score(a, b) == [metric.score(x[None], y[None])[0] for x, y in zip(a, b)]  # noqa: B905


@pytest.mark.medium
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


def test_sides_that_are_powers_of_two_stay():
    for side in (1, 2, 64):
        assert pad_to_power_of_two(torch.ones(1, 1, side, 3)).shape == (1, 1, side, 4)
        assert pad_to_power_of_two(torch.ones(1, 1, 3, side)).shape == (1, 1, 4, side)


def test_nothing_is_downloaded_and_files_are_read_as_weights_alone(backbone, monkeypatch):
    net, path, _ = backbone
    build, load, calls = package.LPIPS, torch.load, []
    monkeypatch.setattr(package, "LPIPS", lambda **k: calls.append(k) or build(**k))
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append((a, k)) or load(*a, **k))
    network = load_lpips(net, path)
    heads = Path(package.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    safe = {"map_location": "cpu", "weights_only": True}
    assert calls == [
        {"net": net, "pnet_rand": True, "pretrained": False, "verbose": False},
        ((heads,), safe),
        ((path,), safe),
    ]
    assert not network.training
    assert not any(one.requires_grad for one in network.parameters())


def test_the_net_that_is_asked_for_is_built(monkeypatch, tmp_path):
    class Asked(Exception):
        pass

    def build(**options):
        warnings.warn("pretrained is deprecated", UserWarning, stacklevel=1)
        raise Asked(options["net"])

    monkeypatch.setattr(package, "LPIPS", build)
    for net in ("alex", "vgg"):
        with pytest.raises(Asked, match=net):
            load_lpips(net, tmp_path / "none.pth")

    def warn(**options):
        warnings.warn("something else", FutureWarning, stacklevel=1)
        raise Asked

    monkeypatch.setattr(package, "LPIPS", warn)
    with pytest.warns(FutureWarning), pytest.raises(Asked):
        load_lpips("alex", tmp_path / "none.pth")


class Light(torch.nn.Module):
    """A distance of one parameter, and what it is given."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.given = []

    def forward(self, a, b):
        self.given.append((a, b))
        return (a - b).abs().mean(dim=(1, 2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("key", "net", "asset"), [("lpips_alex", "alex", "alexnet"), ("lpips_vgg", "vgg", "vgg16")]
)
def test_the_network_is_loaded_onto_the_device(key, net, asset, monkeypatch, tmp_path):
    path, calls = tmp_path / "backbone.pth", []
    path.write_bytes(b"weights")
    monkeypatch.setattr(module, "require", lambda name: calls.append(name) or path)
    monkeypatch.setattr(module, "load_lpips", lambda *a: calls.append(a) or Light())
    made = find_metrics()[key].make(torch.device("meta"))
    assert calls == [asset, (net, path)]
    assert made.network.scale.is_meta
    checksum = hashlib.sha256(b"weights").hexdigest()[:8]
    assert made.backend == f"lpips {version('lpips')} {net} (sha256 {checksum})"


def test_images_are_scaled_and_given_one_by_one(monkeypatch, tmp_path, photo_like):
    (tmp_path / "backbone.pth").write_bytes(b"weights")
    monkeypatch.setattr(module, "require", lambda name: tmp_path / "backbone.pth")
    monkeypatch.setattr(module, "load_lpips", lambda *a: Light())
    metric = find_metrics()["lpips_vgg"].make()
    a, b = photo_like(3, side=8), photo_like(3, side=8, seed=1)
    found = metric.score(a, b)
    wanted = [(scaled(x[None]), scaled(y[None])) for x, y in zip(a, b, strict=True)]
    for pair, (x, y) in zip(metric.network.given, wanted, strict=True):
        assert torch.equal(pair[0], x)
        assert torch.equal(pair[1], y)
    assert found == [(x - y).abs().mean().item() for x, y in wanted]


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
