"""Files of the Hub: its cache is imitated, and no network is used."""

import hashlib
import json

import huggingface_hub
import pytest
from diffusers import AutoencoderKL

from ssdd_bench.errors import WeightsError
from ssdd_bench.weights.hub import (
    CONFIG,
    WEIGHTS,
    build_model,
    fetch,
    fetch_model,
    inspect_remote,
    load_model,
)

CONTENT = b"tensors"


@pytest.fixture
def snapshot(tmp_path, monkeypatch):
    """A snapshot as huggingface_hub lays it out: links to blobs named by their hash."""
    snapshot, blobs = tmp_path / "snapshots" / "main" / "vae", tmp_path / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    for name, blob in ((CONFIG, "a" * 40), (WEIGHTS, hashlib.sha256(CONTENT).hexdigest())):
        (blobs / blob).write_bytes(CONTENT)
        (snapshot / name).symlink_to(blobs / blob)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot.parent))
    return snapshot


def test_a_model_in_a_subfolder(snapshot):
    assert fetch_model("someone/model", "vae") == snapshot


def test_a_large_file_must_have_the_checksum_that_the_hub_records(snapshot):
    blob = (snapshot / WEIGHTS).resolve()
    blob.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=f"{blob.name} does not have the sha256"):
        fetch_model("someone/model", "vae")


def test_a_file_that_the_repository_lacks(snapshot):
    with pytest.raises(WeightsError, match=r"someone/model has no file other\.safetensors"):
        fetch("someone/model", ["other.safetensors"])


def test_brackets_in_brackets_are_damage(tmp_path):
    (tmp_path / CONFIG).write_text("[" * 200_000)
    with pytest.raises(WeightsError, match="damaged JSON"):
        load_model(tmp_path)


@pytest.mark.parametrize("form", [{"variant": "fp16"}, {"max_shard_size": "1KB"}])
def test_weights_of_another_form_are_named(tmp_path, form):
    AutoencoderKL(block_out_channels=[8], norm_num_groups=4).save_pretrained(tmp_path, **form)
    with pytest.raises(WeightsError, match=rf"has diffusion_pytorch_model.* and no {WEIGHTS}"):
        load_model(tmp_path)


def test_optional_files_may_be_missing(hub):
    hub.add("someone/model", {"weights": CONTENT}, "model")
    folder = fetch("someone/model", ["weights"], optional=["card"])
    assert (folder / "weights").read_bytes() == CONTENT
    hub.add("someone/other", {"weights": CONTENT, "card": b"{}"}, "model")
    assert (fetch("someone/other", ["weights"], optional=["card"]) / "card").is_file()


def test_a_subfolder_may_end_with_a_slash(hub):
    hub.add("someone/pipeline", {f"vae/{name}": CONTENT for name in (CONFIG, WEIGHTS)}, "model")
    assert (fetch_model("someone/pipeline", "vae/") / WEIGHTS).is_file()


def test_a_token_that_no_header_can_hold(hub, monkeypatch):
    hub.add("someone/model", {"weights": CONTENT}, "model")
    monkeypatch.setenv("HF_TOKEN", "hf_t\u00f6ken")
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        fetch("someone/model", ["weights"])
    assert "HF_TOKEN" in inspect_remote("someone/model", "weights").reason


def test_an_address_is_no_repository(hub):
    with pytest.raises(WeightsError, match="OWNER/NAME"):
        fetch(f"{hub.url}/someone/model", [CONFIG])


@pytest.mark.parametrize(
    "change",
    [
        {"layers_per_block": 10**9},
        {"block_out_channels": [10**12]},
        {"kl_encoder": {"layers_per_block": 10**9}},
    ],
)
def test_a_model_far_larger_than_its_file_is_not_built(tmp_path, change):
    AutoencoderKL(block_out_channels=[8], norm_num_groups=4).save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    config = json.loads((tmp_path / "config.json").read_text()) | change
    with pytest.raises(WeightsError, match="more than its"):
        build_model(config, file)
