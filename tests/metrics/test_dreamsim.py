"""DreamSim against the package's own path, with small random networks in place of ViT-B."""

import sys
import warnings
import zipfile
from functools import partial

import pytest
import torch

from ssdd_bench.metrics import dreamsim as module
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.dreamsim import _without_hub

WIDTH = 48
HUBCONF = """
import torch
from dreamsim.feature_extraction.vision_transformer import vit_base

def dino_vitb16():
    network = vit_base(patch_size=16, num_classes=0)
    network.load_state_dict(torch.load({path!r}))
    return network
"""


def randomise(network, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    return network


@pytest.fixture(scope="module")
def package():
    """The package with narrow networks of the same depth, which its files then hold."""
    dreamsim = pytest.importorskip("dreamsim")
    from dreamsim.feature_extraction import vision_transformer as vit

    def narrow(patch_size=16, **more):
        return vit.VisionTransformer(
            patch_size=patch_size,
            embed_dim=WIDTH,
            depth=12,
            num_heads=4,
            mlp_ratio=2,
            qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            **more,
        )

    with pytest.MonkeyPatch.context() as patch:
        for name in ("vision_transformer", "load_clip_as_dino", "load_open_clip_as_dino"):
            module_name = f"dreamsim.feature_extraction.{name}"
            patch.setattr(sys.modules[module_name], "vit_base", narrow)
        yield dreamsim, narrow


def fabricate(package, folder, kind, prefix):
    """Files with the names and the layout of the published ones; returns the folder."""
    from dreamsim.config import dreamsim_args
    from dreamsim.feature_extraction.vision_transformer import DINOHead
    from dreamsim.model import PerceptualModel
    from peft import LoraConfig, get_peft_model

    _, narrow = package
    folder.mkdir()
    (folder / "checkpoints").mkdir()
    dino = folder / "checkpoints" / "dino_vitbase16_pretrain.pth"
    torch.save(randomise(narrow(num_classes=0), 0).state_dict(), dino)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = randomise(DINOHead(768, 2048), 1)
    student = {f"module.head.{k}": v for k, v in head.state_dict().items()}
    student["module.head.last_layer.weight"] = torch.zeros(2048, 256)
    torch.save({"student": student}, folder / "dino_vitb16_pretrain.pth")
    if kind == "ensemble":
        for seed, name in enumerate(("clip", "open_clip"), start=2):
            network = narrow()
            network.pos_drop = torch.nn.LayerNorm(WIDTH)
            state = randomise(network, seed).state_dict()
            state["proj"] = torch.randn(WIDTH, 512, generator=torch.Generator().manual_seed(seed))
            torch.save({"state_dict": state}, folder / f"{name}_vitb16_pretrain.pth.tar")
    config = LoraConfig(r=4, lora_alpha=0.5, lora_dropout=0.3, bias="none", target_modules=["qkv"])
    with warnings.catch_warnings(), _without_hub(dino):
        warnings.simplefilter("ignore")
        model = PerceptualModel(
            **dreamsim_args["model_config"][kind], device="cpu", load_dir=str(folder)
        )
        adapted = get_peft_model(model, config)
        randomise(
            torch.nn.ParameterList(p for n, p in adapted.named_parameters() if "lora" in n), 9
        )
        adapted.save_pretrained(str(folder / f"{prefix}_lora"))
    repository = folder / "facebookresearch_dino_main"
    repository.mkdir()
    (repository / "hubconf.py").write_text(HUBCONF.format(path=str(dino)))
    return folder


@pytest.fixture(
    scope="module", params=[pytest.param("ensemble", marks=pytest.mark.slow), "dino_vitb16"]
)
def files(request, package, tmp_path_factory):
    """(kind, the package's folder, archive as published, DINO's weights)."""
    kind = request.param
    prefix = {"ensemble": "ensemble", "dino_vitb16": "dino_vitb16_single"}[kind]
    base = tmp_path_factory.mktemp(kind)
    folder = fabricate(package, base / "files", kind, prefix)
    archive = base / "published.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for path in [*folder.glob("*.pth*"), *folder.glob("*_lora/*")]:
            made.write(path, path.relative_to(folder))
    return kind, folder, archive, folder / "checkpoints" / "dino_vitbase16_pretrain.pth"


@pytest.fixture
def make(files, monkeypatch, tmp_path):
    kind, _, archive, dino = files
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "require", lambda name: dino if name == "dino_vitb16" else archive)
    keys = {"ensemble": "dreamsim", "dino_vitb16": "dreamsim_dino_vitb16"}
    return find_metrics()[keys[kind]].make


@pytest.mark.slow
@torch.no_grad()
def test_equals_the_package(make, files, package, photo_like, noisy, monkeypatch):
    from PIL import Image

    kind, folder, _, _ = files
    a = photo_like(2)
    b = noisy(a, 40)
    before = torch.hub.load, torch.hub.set_dir, torch.hub.get_dir()
    metric = make()
    assert (torch.hub.load, torch.hub.set_dir, torch.hub.get_dir()) == before
    found = metric.score(a, b)

    monkeypatch.setattr(torch.hub, "set_dir", lambda d: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, prepare = package[0].dreamsim(
            device="cpu", cache_dir=str(folder), dreamsim_type=kind
        )
    pictures = [[Image.fromarray(x.permute(1, 2, 0).numpy()) for x in side] for side in (a, b)]
    expected = [model(prepare(x), prepare(y)).item() for x, y in zip(*pictures, strict=True)]
    assert found == expected
    assert min(found) > 1e-5
    other = make(options=MetricOptions(dreamsim_resize=False)).score(a, b)
    assert other != pytest.approx(found, rel=1e-2)


def test_identity_and_batches(make, photo_like, noisy):
    a = photo_like(2)
    b = noisy(a, 40)
    metric = make()
    assert metric.score(a, a) == pytest.approx([0, 0], abs=1e-6)
    assert metric.score(a, b) == [*metric.score(a[:1], b[:1]), *metric.score(a[1:], b[1:])]
