"""Paths and repositories in place of ids: which tokenizer takes them, and what is said."""

import logging

import pytest
import torch
from safetensors.torch import save_file

from ssdd_bench.errors import OptionError, UnknownNameError
from ssdd_bench.plugins.manifest import Published, TokenizerInfo
from ssdd_bench.plugins.paths import is_path, resolve_path
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer, parse_requests


@pytest.fixture
def make(tmp_path):
    def make(name, accepts, latent=None, hub=""):
        published = Published(hub=hub) if hub else None
        blank = dict.fromkeys(("title", "family", "description", "licence", "version"), "x")
        place = {"folder": tmp_path, "source": "test", "package": "test"}
        return TokenizerInfo(
            name, **blank, **place, accepts=accepts, latent=latent, published=published
        )

    return make


@pytest.fixture
def checkpoint(tmp_path):
    save_file({"decoder.ada_ctx_proj.0.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    return str(tmp_path / "x.safetensors")


@pytest.mark.parametrize("text", ["./a", "a/b", "/a", "x.safetensors", "x.onnx", "~/a"])
def test_paths_are_told_from_ids(text):
    assert is_path(text)


def test_folder_in_the_way_is_no_value_and_no_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("2", "klvae"):
        (tmp_path / name).mkdir()
    assert [one.label for one in parse_requests("ssdd:steps=1,2,klvae")] == [
        "ssdd:steps=1",
        "ssdd:steps=2",
        "klvae",
    ]
    (tmp_path / "mine").mkdir()
    with pytest.raises(OptionError, match="mine has neither"):
        parse_requests("mine")


@pytest.mark.parametrize("text", ["ssdd", "sd-vae-ft-mse", "JPEG", "2"])
def test_ids_are_no_paths(text):
    assert not is_path(text)


def test_one_tokenizer_takes_it_and_it_is_said_once(make, checkpoint, caplog):
    caplog.set_level(logging.INFO, "ssdd_bench")
    one, other = (
        make("one", {"ssdd-checkpoint": ("file",)}),
        make("other", {"tiny-autoencoder": ("path",)}),
    )
    assert resolve_path(checkpoint, [one, other]) == (one, {"file": checkpoint})
    assert resolve_path(checkpoint, [one, other]) == (one, {"file": checkpoint})
    line = f"{checkpoint}: SSDD checkpoint, taken as one:file={checkpoint}"
    assert [record.message for record in caplog.records] == [line]


def test_ambiguity_lists_the_explicit_forms(make, checkpoint):
    several = [make(name, {"ssdd-checkpoint": ("file",)}) for name in ("one", "two")]
    with pytest.raises(OptionError) as caught:
        resolve_path(checkpoint, several)
    assert f"one:file={checkpoint} or two:file={checkpoint}" in str(caught.value)


def test_half_of_a_pair_lists_the_explicit_form(make, checkpoint):
    with pytest.raises(OptionError, match=r"Write one:encoder=.*x\.safetensors,decoder=FILE"):
        resolve_path(checkpoint, [make("one", {"ssdd-checkpoint": ("encoder", "decoder")})])


def test_nobody_takes_it(make, checkpoint):
    with pytest.raises(OptionError, match="no tokenizer takes"):
        resolve_path(checkpoint, [make("one", {"tiny-autoencoder": ("path",)})])


def test_repository_of_published_weights_is_that_tokenizer(make):
    any_hub, named = make("any", {"hub": ("repo",)}), make("named", {}, hub="org/name")
    assert resolve_path("org/name", [any_hub, named]) == (named, {})
    assert resolve_path("org/other", [any_hub, named]) == (any_hub, {"repo": "org/other"})
    again = make("again", {}, hub="org/name")
    with pytest.raises(OptionError, match="named or again"):
        resolve_path("org/name", [any_hub, named, again])


@pytest.mark.parametrize("text", ["./nothing", "/no/such/folder", "a/b.safetensors"])
def test_missing_path_is_one_line(text):
    with pytest.raises(OptionError, match="no such file or folder"):
        parse_requests(text)


@pytest.mark.medium
def test_built_in_tokenizers_take_their_files():
    """Options as a user types them: after a number, and with options of their own."""
    whole = TOKENIZERS.get("ssdd").folder / "weights" / "ssdd-mini-f8c4.safetensors"
    vae = TOKENIZERS.get("klvae").folder / "weights" / "klvae-mini-f8c4.safetensors"
    text = f"ssdd:steps=1,2,{whole}:steps=4,{vae},stabilityai/sd-vae-ft-mse,org/x:subfolder=vae"
    assert [request.label for request in parse_requests(text)] == [
        "ssdd:steps=1",
        "ssdd:steps=2",
        f"ssdd:checkpoint={whole},steps=4",
        f"klvae:path={vae}",
        "sd-vae-ft-mse",
        "diffusers:repo=org/x,subfolder=vae",
    ]
    assert load_tokenizer(str(whole)).steps == 1


def test_tiny_autoencoders_are_told_by_their_latents(tmp_path):
    layers = {0: (8, 3), 1: (8, 8), 2: (8, 8), 3: (8, 8), 4: (16, 8)}
    state = {f"encoder.layers.{i}.weight": torch.zeros(*n, 3, 3) for i, n in layers.items()}
    state |= {
        f"encoder.layers.{i}.bias": torch.zeros(n[0]) for i, n in layers.items() if i in (0, 4)
    }
    save_file(state, tmp_path / "t.safetensors")
    with pytest.raises(OptionError) as caught:
        parse_requests(str(tmp_path))
    forms = str(caught.value).partition("Write ")[2].split(" or ")
    assert [form.partition(":")[0] for form in forms] == ["taef1", "taesd3"]


def test_unknown_id_stays_an_unknown_id():
    with pytest.raises(UnknownNameError, match="did you mean"):
        parse_requests("sdd")
