"""Whose weights ran: decided by their checksums, not by the name they were asked for."""

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from ssdd_bench.api import LatentSpec
from ssdd_bench.errors import OptionError, PluginError
from ssdd_bench.evaluation import loading as module
from ssdd_bench.evaluation.loading import (
    LoadedTokenizer,
    _version,
    describe_external,
    is_stochastic,
    label_of,
    load,
    load_once,
    sha256_module,
)
from ssdd_bench.plugins.adapters.functions import FunctionTokenizer, from_functions
from ssdd_bench.plugins.registry import TOKENIZERS, parse_requests
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.results.schema import TokenizerRecord
from ssdd_bench.weights.files import sha256_file

SHIPPED = ("ssdd", "diffusion", "klvae")


def small_vae(folder: Path, **config: object) -> Path:
    """A small random model in the layout of diffusers."""
    torch.manual_seed(0)
    sizes = {"block_out_channels": [8] * 4, "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    }
    AutoencoderKL(**{**sizes, **blocks, **config}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_have_the_checksums_of_the_manifest(name):
    info = TOKENIZERS.get(name)
    for file, expected in info.shipped.sha256.items():
        assert sha256_file(info.folder / "weights" / file) == expected


@pytest.mark.medium
@pytest.mark.parametrize("name", SHIPPED)
def test_mini_weights_are_noted(name):
    record = load(name).record
    assert record.weights_origin == "shipped"
    assert record.note == TOKENIZERS.get(name).shipped.note


@pytest.mark.medium
def test_a_copy_of_the_mini_weights_is_still_noted(tmp_path):
    weights = TOKENIZERS.get("ssdd").folder / "weights" / "ssdd-mini-f8c4.safetensors"
    copy = shutil.copy(weights, tmp_path / "renamed.safetensors")
    record = load(f"ssdd:checkpoint={copy}").record
    assert (record.weights_origin, record.note) == ("shipped", TOKENIZERS.get("ssdd").shipped.note)


def test_other_weights_under_a_published_name_are_marked(tmp_path):
    folder = small_vae(tmp_path, scaling_factor=0.18215)
    record = load(f"sd-vae-ft-mse:path={folder}").record
    assert record.weights_origin == "other"
    assert "other weights" in record.note


def test_published_weights_are_told_by_their_checksum():
    info = TOKENIZERS.get("sd-vae-ft-mse")
    (name, sha256), *_ = info.published.sha256.items()
    assert info.weights_origin({"renamed.safetensors": sha256}) == "published"
    assert info.weights_origin({name: sha256}) == "published"
    assert info.weights_origin({name: "0" * 64}) == "other"
    assert info.weights_origin({"renamed.safetensors": "0" * 64}) == "unverified"
    assert info.note_on("published") == ""
    assert info.note_on("unverified", given=False) == ""
    assert "not compared" in info.note_on("unverified", given=True)


def test_object_in_memory_has_no_origin():
    assert (
        load(AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)).record.weights_origin
        is None
    )


def made(**more: object) -> FunctionTokenizer:
    """A tokenizer of two functions that are never called."""
    found = from_functions(abs, abs, LatentSpec("continuous", 1, 3), **more)
    assert isinstance(found, FunctionTokenizer)
    return found


def test_an_object_in_memory_is_described_whole():
    encoder, decoder = nn.Conv2d(3, 4, 1), nn.Linear(2, 5)
    tokenizer = made(networks={"encoder": encoder, "decoder": decoder}, info={"size": "S"})
    expected = TokenizerRecord(
        label="FunctionTokenizer",
        id="ssdd_bench.plugins.adapters.functions.FunctionTokenizer",
        options={},
        title="FunctionTokenizer",
        family="FunctionTokenizer",
        role="tokenizer",
        licence="",
        version="",
        note="given as a Python object",
        stochastic=False,
        weights={"encoder": sha256_module(encoder), "decoder": sha256_module(decoder)},
        params_encoder=16,
        params_decoder=15,
        extra={"size": "S"},
        weights_origin=None,
    )
    assert load(tokenizer).record == expected
    named = load(tokenizer, label="mine").record
    assert (named.label, named.title) == ("mine", "mine")
    assert (named.id, named.family) == (expected.id, expected.family)


def test_files_and_networks_of_an_object_are_its_weights(tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"abc")
    encoder = nn.Linear(1, 1)
    record = load(made(weights=[file], networks={"encoder": encoder})).record
    assert record.weights == {
        "weights.bin": hashlib.sha256(b"abc").hexdigest(),
        "encoder": sha256_module(encoder),
    }
    assert (record.params_encoder, record.params_decoder) == (2, 0)


def test_objects_whose_weights_are_unknown_are_never_the_same():
    first, second = (load(made()).record.weights for _ in range(2))
    assert first.keys() == second.keys() == {"unknown"}
    assert first != second


def test_the_version_of_a_third_partys_plugin_has_its_code(tmp_path):
    info = replace(TOKENIZERS.get("klvae"), folder=tmp_path, version="3")
    assert _version(info) == "3"
    info = replace(info, source="folder x")
    seen = [_version(info)]
    for name, text in (("plugin.py", "a"), ("plugin.py", "b"), ("more/x.py", "b"), ("x.txt", "")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        seen.append(_version(info))
    assert len(set(seen)) == 4  # a text file is no code
    assert seen[3] == seen[4]
    assert all(re.fullmatch(r"3\+[0-9a-f]{8}", one) for one in seen)


def test_an_object_says_if_it_is_stochastic():
    """One that does not say so is, if its decoder has steps."""
    assert load(made(stochastic=True)).record.stochastic is True
    assert load(made(steps=3)).record.stochastic is False
    silent = made(steps=3)
    del silent.stochastic
    assert load(silent).record.stochastic is True
    silent.steps = None
    assert load(silent).record.stochastic is False
    assert is_stochastic(silent, True) is True


def test_a_request_is_described_whole(monkeypatch, tmp_path):
    """The home folder, which names its owner, is left out of the label and the options."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = small_vae(tmp_path / "vae")
    info = TOKENIZERS.get("klvae")
    request = TokenizerRequest("klvae", {"path": str(folder)})
    found = load(request)
    networks = found.tokenizer.networks()
    assert not any(one.training for one in networks.values())
    (weights,) = found.tokenizer.weights
    assert found.record == TokenizerRecord(
        label="klvae:path=~/vae",
        id="klvae",
        options={**info.recorded_options(request.options, found.tokenizer), "path": "~/vae"},
        title=info.title,
        family=info.family,
        role=info.role,
        licence=info.licence,
        version=info.version,
        note="",
        stochastic=False,
        weights={weights.name: sha256_file(weights)},
        params_encoder=sum(one.numel() for one in networks["encoder"].parameters()),
        params_decoder=sum(one.numel() for one in networks["decoder"].parameters()),
        extra=found.tokenizer.info(),
        weights_origin="other",
    )
    assert 0 < found.record.params_encoder != found.record.params_decoder > 0


def test_a_codec_is_described_whole():
    info = TOKENIZERS.get("jpeg")
    found = load("jpeg:quality=50", label="mine")
    assert found.record == TokenizerRecord(
        label="mine",
        id="jpeg",
        options={"quality": 50, "subsampling": "4:2:0"},
        title="JPEG",
        family="codec",
        role="codec",
        licence="Apache-2.0",
        version=info.version,
        note="",
        stochastic=False,
        weights={},
        params_encoder=0,
        params_decoder=0,
        extra=found.tokenizer.info(),
    )


@pytest.mark.parametrize(
    ("stochastic", "says", "found"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
@pytest.mark.parametrize("given", [True, False])
def test_what_a_manifest_and_the_loaded_tokenizer_say(monkeypatch, stochastic, says, found, given):
    """The tokenizer knows better; weights that the user named may be others than published."""
    tokenizer = made(info={"size": "S"}, networks={"decoder": nn.Linear(1, 1)})
    del tokenizer.stochastic
    if says is not None:
        tokenizer.stochastic = says
    notes = []
    info = TOKENIZERS.get("sd-vae-ft-mse")
    stand_in = Info(info, stochastic, notes)
    monkeypatch.setattr(module, "TOKENIZERS", {"x": stand_in})
    options = {"revision": "main", **({"path": "x"} if given else {})}
    record = module._describe_request(TokenizerRequest("x", options), tokenizer, "")
    assert record.stochastic is found
    assert record.extra == {"size": "S"}
    assert (record.params_encoder, record.params_decoder) == (0, 2)
    assert record.note == "a note"
    assert notes == [("unverified", given)]


class Info:
    """A manifest whose weights cannot be verified."""

    def __init__(self, info, stochastic, notes):
        self.info, self.stochastic, self.notes = info, stochastic, notes

    def __getattr__(self, name):
        return getattr(self.info, name)

    def recorded_options(self, options, tokenizer):
        return dict(options)

    def weights_origin(self, weights):
        return "unverified"

    def note_on(self, origin, given=None):
        self.notes.append((origin, given))
        return "a note"


@pytest.mark.parametrize("role", ["reconstructions", "samples"])
@pytest.mark.parametrize("stochastic", [True, False])
def test_a_system_of_which_only_images_are_known(role, stochastic):
    assert describe_external(role, "theirs", stochastic) == TokenizerRecord(
        label="theirs",
        id=role,
        options={},
        title="theirs",
        family=role,
        role=role,
        licence="",
        version="",
        note=f"{role} made elsewhere",
        stochastic=stochastic,
        weights={},
        params_encoder=0,
        params_decoder=0,
        extra={},
        weights_origin=None,
    )


def test_what_is_loaded_is_not_loaded_again(monkeypatch):
    loaded = load("jpeg:quality=50")
    cpu, seen = torch.device("cpu"), []
    assert load_once(loaded, cpu) is loaded
    monkeypatch.setattr(module, "load", lambda *given: (seen.append(given), loaded)[1])
    assert load_once("jpeg", cpu) is loaded
    assert seen == [("jpeg", cpu)]
    (request,) = parse_requests("jpeg:quality=30")
    assert label_of("a string") == "a string"
    assert label_of(request) == "jpeg:quality=30"
    assert label_of(loaded) == "jpeg:quality=50"


def test_the_device_is_that_of_the_networks(monkeypatch):
    devices, load_tokenizer = [], module.load_tokenizer

    def note(request, device):
        devices.append(device)
        return load_tokenizer(request, device="cpu")

    monkeypatch.setattr(module, "load_tokenizer", note)
    assert isinstance(load("jpeg", torch.device("meta")), LoadedTokenizer)
    assert isinstance(load("jpeg"), LoadedTokenizer)
    assert devices == [torch.device("meta"), "cpu"]
    monkeypatch.setattr(FunctionTokenizer, "to", lambda it, device: (devices.append(device), it)[1])
    load(made(), "meta")
    load(made())
    assert devices[2:] == ["meta", "cpu"]


def test_networks_of_an_object_are_in_evaluation_mode():
    network = nn.Linear(1, 1)
    tokenizer = made(networks={"decoder": network})
    network.train()
    assert not load(tokenizer).tokenizer.networks()["decoder"].training


def test_two_tokenizers_are_not_loaded_as_one():
    with pytest.raises(OptionError, match=re.escape("(jpeg:quality=30, jpeg:quality=50)")):
        load("jpeg:quality=30,50")


@pytest.mark.parametrize(("label", "named"), [("", "FunctionTokenizer"), ("mine", "mine")])
def test_a_description_that_does_not_hold_is_refused(label, named):
    tokenizer = made()
    tokenizer.latent = None
    with pytest.raises(PluginError, match=named):
        load(tokenizer, label=label)


def test_the_checksum_of_a_network_is_of_all_its_state():
    network = nn.BatchNorm2d(2)
    digest = hashlib.sha256()
    for name, numbers in sorted(network.state_dict().items()):
        digest.update(f"{name} {numbers.dtype} {tuple(numbers.shape)}\n".encode())
        digest.update(numbers.numpy().tobytes())
    assert sha256_module(network) == digest.hexdigest()
    network.running_mean[1] = 3
    assert sha256_module(network) != digest.hexdigest()
