"""DINOv2 as its authors run it, on random weights in the layout of their file."""

import copy
import hashlib
import sys
from math import floor

import numpy as np
import pytest
import torch
from sample_images import resize_by_pillow

from ssdd_bench.errors import UnavailableError
from ssdd_bench.metrics.features import dinov2 as module
from ssdd_bench.metrics.features.dinov2 import MEAN, OFFSET, STD, DINOv2Features, resize_positions

timm = pytest.importorskip("timm")

CPU = torch.device("cpu")
META = torch.device("meta")
SMALL = "vit_small_patch14_dinov2.lvd142m"
LENGTH = 384


class SmallFeatures(DINOv2Features):
    """The smallest network of the family, to be quick."""

    layers = {"cls": LENGTH}  # noqa: RUF012
    model = SMALL


@pytest.fixture(scope="module")
def state():
    """Every tensor random; the table of positions is for 518 px, and a mask token is there."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        name: value.shape
        for name, value in timm.create_model(SMALL, num_classes=0).named_parameters()
    }
    assert shapes["pos_embed"] == (1, 1 + 37 * 37, LENGTH)
    assert {"cls_token", "patch_embed.proj.weight", "blocks.11.ls1.gamma", "norm.bias"} <= set(
        shapes
    )
    found = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name in found:
        if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "gamma")):
            found[name] += 1
    return found | {"mask_token": torch.zeros(1, LENGTH)}


@pytest.fixture(scope="module")
def extractor(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("dinov2") / "random.pth"
    torch.save(state, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "require", lambda name: path)
        return SmallFeatures(CPU)


def cubic(distance):
    """Keys' kernel with a = -0.75, torch's choice."""
    d, a = abs(distance), -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def resize_matrix(old, new, scale):
    """(new, old): output i lies at (i + 1/2) / scale - 1/2; edges are repeated."""
    matrix = np.zeros((new, old))
    for i in range(new):
        place = (i + 0.5) / scale - 0.5
        for j in range(floor(place) - 1, floor(place) + 3):
            matrix[i, min(max(j, 0), old - 1)] += cubic(place - j)
    return matrix


def resized(table, scale, old=37, new=16):
    grid = table[0, 1:].double().numpy().reshape(old, old, -1)
    matrix = resize_matrix(old, new, scale)
    return np.einsum("ai,bj,ijc->abc", matrix, matrix, grid).reshape(new * new, -1)


def test_every_number_of_a_small_table():
    table = torch.randn(1, 26, 3, generator=torch.Generator().manual_seed(0))
    found = resize_positions(table.double(), 2, OFFSET)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found[:, 0], table[:, 0])
    np.testing.assert_allclose(found[0, 1:], resized(table, 2.1 / 5, 5, 2), atol=1e-6)


def test_a_table_of_one_place_is_repeated():
    found = resize_positions(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2, OFFSET)
    torch.testing.assert_close(found, torch.tensor([[[1.0, 2.0], *[[3.0, 4.0]] * 4]]))


def test_table_of_the_same_size_keeps_its_place():
    """A grid of ones stays one, and a slope rises along the rows only."""
    rows = torch.arange(37.0).repeat_interleave(37)
    grid = torch.stack([torch.ones(37 * 37), rows], dim=1)
    found = resize_positions(torch.cat([torch.zeros(1, 2), grid])[None], 16, OFFSET)[0, 1:]
    torch.testing.assert_close(found[:, 0], torch.ones(256))
    by_row = found[:, 1].reshape(16, 16)
    torch.testing.assert_close(by_row, by_row[:, :1].expand(16, 16), atol=1e-4, rtol=0)
    assert by_row[-1, 0] - by_row[0, 0] > 30


@pytest.mark.medium
@pytest.mark.parametrize("cells", [16, 32, 64])
def test_table_without_an_offset_is_that_of_transformers(cells):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    model = transformers.Dinov2Model(config).eval()
    table = torch.randn(1, 1370, 8, generator=torch.Generator().manual_seed(0))
    model.embeddings.position_embeddings = torch.nn.Parameter(table)
    tokens = torch.zeros(1, 1 + cells * cells, 8)
    expected = model.embeddings.interpolate_pos_encoding(tokens, 14 * cells, 14 * cells)
    torch.testing.assert_close(resize_positions(table, cells), expected.data, rtol=0, atol=0)


@pytest.mark.slow
def test_features_are_those_of_the_network_with_that_table(state, extractor, photo_like):
    images = photo_like(3, side=96)
    network = timm.create_model(SMALL, img_size=224, num_classes=0).eval()
    table = torch.from_numpy(resized(state["pos_embed"], 16.1 / 37)).float()
    loaded = {name: value for name, value in state.items() if name != "mask_token"}
    loaded["pos_embed"] = torch.cat([state["pos_embed"][:, :1], table[None]], dim=1)
    network.load_state_dict(loaded)
    pixels = resize_by_pillow(images, 224)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    inputs = torch.from_numpy((pixels / 255 - mean) / std).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = network.forward_features(inputs)[:, 0].numpy()  # after the final norm

    found = extractor(images)["cls"]

    assert found.shape == (3, LENGTH)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_timms_own_table_gives_other_features(state, extractor, photo_like):
    images = photo_like(2, side=64)
    right = extractor(images)["cls"]
    theirs = timm.layers.resample_abs_pos_embed(state["pos_embed"], [16, 16])
    other = copy.deepcopy(extractor)
    other.network.pos_embed = torch.nn.Parameter(theirs)
    wrong = other(images)["cls"]
    assert np.abs(wrong - right).max() / np.abs(right).max() > 1e-3


@pytest.mark.slow
def test_an_image_does_not_depend_on_its_group(extractor, photo_like):
    images = photo_like(2, side=64)
    alone = extractor(images[:1])["cls"]
    np.testing.assert_allclose(extractor(images)["cls"][:1], alone, atol=1e-5)


class Light(torch.nn.Module):
    """A network that returns the mean of each channel and keeps what it is given."""

    def __init__(self):
        super().__init__()
        self.pos_embed = torch.nn.Parameter(torch.zeros(1))
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.given = []

    def forward(self, images):
        self.given.append(images)
        return torch.zeros(len(images), 3) if images.is_meta else images.mean(dim=(2, 3))


@pytest.fixture
def light(monkeypatch, tmp_path):
    """A light network in place of the transformer: (calls that make it, file, table)."""
    path, calls = tmp_path / "light.pth", []
    table = torch.randn(1, 26, 2, generator=torch.Generator().manual_seed(0))
    torch.save({"pos_embed": table}, path)
    load = torch.load
    monkeypatch.setattr(module, "require", lambda name: calls.append(name) or path)
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: calls.append((a, k)) or Light())
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append((a, k)) or load(*a, **k))
    return calls, path, table


def test_the_network_is_made_from_the_verified_file(light):
    calls, path, table = light
    made = DINOv2Features(CPU)
    options = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
    assert calls == [
        "dinov2_vitl14",
        (("vit_large_patch14_dinov2.lvd142m",), options | {"img_size": 224, "num_classes": 0}),
        ((path,), {"map_location": "cpu", "weights_only": True}),
    ]
    torch.testing.assert_close(made.network.pos_embed.data, resize_positions(table, 16, OFFSET))
    assert not made.network.training
    assert not any(one.requires_grad for one in made.network.parameters())
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    name = "vit_large_patch14_dinov2.lvd142m"
    assert made.backend == f"timm {timm.__version__} {name} (sha256 {checksum})"


@pytest.mark.medium
def test_images_are_normalised_eight_at_a_time(light, photo_like):
    images = photo_like(9, side=8)
    made = DINOv2Features(CPU)
    found = made(images)
    pixels = resize_by_pillow(images, 224)
    expected = ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    assert [len(x) for x in made.network.given] == [8, 1]
    np.testing.assert_allclose(torch.cat(made.network.given), expected, atol=1e-5)
    assert list(found) == ["cls"]
    assert found["cls"].dtype == np.float32
    np.testing.assert_allclose(found["cls"], expected.mean(axis=(2, 3)), atol=1e-5)


def test_everything_is_on_the_device(light, photo_like):
    made = DINOv2Features(META)
    assert {one.device for one in made.network.parameters()} == {META}
    assert made(photo_like(1, side=8))["cls"].shape == (1, 3)
    assert made.network.given[0].device == META


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnavailableError, match=r"pip install .*\[dinov2\]'"):
        DINOv2Features(CPU)
