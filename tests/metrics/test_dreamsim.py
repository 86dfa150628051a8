"""DreamSim against the package's own path, with small random networks in place of ViT-B."""

import hashlib
import sys
import warnings
import zipfile
from functools import partial
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image

from ssdd_bench.errors import UnavailableError
from ssdd_bench.metrics import dreamsim as module
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.dreamsim import MEMBERS, _load_model, _without_hub
from ssdd_bench.weights.assets import cache_folder

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


@pytest.mark.medium
def test_identity_and_batches(make, photo_like, noisy):
    a = photo_like(2)
    b = noisy(a, 40)
    metric = make()
    assert metric.score(a, a) == pytest.approx([0, 0], abs=1e-6)
    assert metric.score(a, b) == [*metric.score(a[:1], b[:1]), *metric.score(a[1:], b[1:])]


META = torch.device("meta")


class Distance:
    """A distance, and what it is given."""

    def __init__(self):
        self.given = []

    def __call__(self, a, b):
        self.given.append((a, b))
        return torch.zeros(len(a)) if a.is_meta else (a - b).abs().mean(dim=(1, 2, 3))


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Archives of empty files by asset, DINO's file, and what is asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dino, calls, paths = tmp_path / "dino.pth", [], {}
    for kind, members in MEMBERS.items():
        paths[f"dreamsim_{kind}"] = tmp_path / f"{kind}.zip"
        with zipfile.ZipFile(paths[f"dreamsim_{kind}"], "w") as archive:
            for name in members:
                archive.writestr(f"{name}config.json" if name.endswith("/") else name, kind)
    paths["dino_vitb16"] = dino
    monkeypatch.setattr(module, "require", lambda name: calls.append(name) or paths[name])
    monkeypatch.setattr(module, "_load_model", lambda *a: calls.append(a) or Distance())
    return paths, calls


@pytest.mark.medium
@pytest.mark.parametrize(
    ("key", "kind"), [("dreamsim", "ensemble"), ("dreamsim_dino_vitb16", "dino_vitb16")]
)
def test_the_archive_is_unpacked_into_the_cache(published, key, kind):
    pytest.importorskip("dreamsim")
    paths, calls = published
    asset = f"dreamsim_{kind}"
    made = find_metrics()[key].make(META)
    checksum = hashlib.sha256(paths[asset].read_bytes()).hexdigest()[:8]
    folder = cache_folder() / "dreamsim" / checksum
    assert calls == [asset, "dino_vitb16", (kind, folder, paths["dino_vitb16"], META)]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files >= {f"{one}config.json" if one.endswith("/") else one for one in MEMBERS[kind]}
    assert made.backend == f"dreamsim {version('dreamsim')} {kind} (sha256 {checksum})"
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    assert made.score(images, images) == [0, 0, 0]
    assert made.model.given[0][0].device == META


@pytest.mark.parametrize("resized", [True, False])
def test_images_are_scaled_and_given_one_by_one(published, photo_like, resized):
    pytest.importorskip("dreamsim")
    options = MetricOptions(dreamsim_resize=resized)
    metric = find_metrics()["dreamsim"].make(options=options)
    a, b = photo_like(3, side=8), photo_like(3, side=8, seed=1)
    found = metric.score(a, b)

    def scaled(image):
        pixels = Image.fromarray(image.permute(1, 2, 0).numpy())
        if resized:
            pixels = pixels.resize((224, 224), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255

    wanted = [(scaled(x), scaled(y)) for x, y in zip(a, b, strict=True)]
    for pair, (x, y) in zip(metric.model.given, wanted, strict=True):
        assert pair[0].is_contiguous()
        assert torch.equal(pair[0], x)
        assert torch.equal(pair[1], y)
    assert found == pytest.approx([(x - y).abs().mean().item() for x, y in wanted], rel=1e-6)


def test_a_missing_package_is_named(published, monkeypatch):
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(UnavailableError, match=r"^dreamsim_dino_vitb16 .*\[dreamsim\]'"):
        find_metrics()["dreamsim_dino_vitb16"].make()


def test_the_package_is_given_the_folder_and_is_silent(package, monkeypatch, tmp_path, capsys):
    calls, kept = [], (torch.hub.load, torch.hub.set_dir)

    def build(**options):
        warnings.warn("peft changed", UserWarning, stacklevel=1)
        sys.stdout.write("Using cached files")
        torch.hub.set_dir("elsewhere")
        calls.append(options)
        return "model", "preparation"

    monkeypatch.setattr(package[0], "dreamsim", build)
    assert _load_model("ensemble", tmp_path / "files", tmp_path / "dino.pth", META) == "model"
    assert calls == [
        {
            "pretrained": True,
            "device": "meta",
            "cache_dir": str(tmp_path / "files"),
            "dreamsim_type": "ensemble",
        }
    ]
    assert capsys.readouterr().out == ""
    assert (torch.hub.load, torch.hub.set_dir) == kept


def test_dino_is_the_packages_own_network_with_verified_weights(package, monkeypatch, tmp_path):
    path, calls = tmp_path / "dino.pth", []
    state = randomise(package[1](num_classes=0), 3).state_dict()
    torch.save(state, path)
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append((a, k)) or load(*a, **k))
    with _without_hub(path):
        network = torch.hub.load("facebookresearch/dino:main", "dino_vitb16")
    assert calls == [((path,), {"map_location": "cpu", "weights_only": True})]
    assert isinstance(network.head, torch.nn.Identity)
    assert network.patch_embed.patch_size == 16
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])
