"""Files of the Hub: its cache is imitated, and no network is used."""

import hashlib
import json

import huggingface_hub
import pytest
from diffusers import AutoencoderKL

from ssdd_bench.errors import WeightsError
from ssdd_bench.weights.hub import fetch, fetch_model, inspect_remote
from ssdd_bench.weights.layout import CONFIG, INDEX, WEIGHTS
from ssdd_bench.weights.models import load_model

CONTENT = b"tensors"
FP16_INDEX = INDEX.replace(".json", ".fp16.json")


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


def test_optional_files_may_be_missing(hub):
    hub.add("someone/model", {"weights": CONTENT}, "model")
    folder = fetch("someone/model", ["weights"], optional=["card"])
    assert (folder / "weights").read_bytes() == CONTENT
    hub.add("someone/other", {"weights": CONTENT, "card": b"{}"}, "model")
    assert (fetch("someone/other", ["weights"], optional=["card"]) / "card").is_file()


def test_a_subfolder_may_end_with_a_slash(hub):
    hub.add("someone/pipeline", {f"vae/{name}": CONTENT for name in (CONFIG, WEIGHTS)}, "model")
    assert (fetch_model("someone/pipeline", "vae/") / WEIGHTS).is_file()


def saved(folder, **form):
    """Return the files of a small model as ``save_pretrained`` writes it."""
    AutoencoderKL(block_out_channels=[8], norm_num_groups=4).save_pretrained(folder, **form)
    return {f"vae/{path.name}": path.read_bytes() for path in folder.iterdir()}


def asked(hub):
    """Return the names of the files that were downloaded."""
    return {
        one.rpartition("/")[2] for one in hub.requests if one.startswith("GET") and "/vae/" in one
    }


FORMS = [
    {},
    {"max_shard_size": "5KB"},
    {"variant": "fp16"},
    {"variant": "fp16", "max_shard_size": "5KB"},
    {"safe_serialization": False},
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_weights_is_fetched_once_and_found_offline(hub, tmp_path, monkeypatch, form):
    files = saved(tmp_path / "saved", **form)
    other = {"vae/diffusion_pytorch_model.fp16.bin": CONTENT, "unet/x.safetensors": CONTENT}
    hub.add("someone/pipeline", files | other, "model")
    folder = fetch_model("someone/pipeline", "vae")
    assert {f"vae/{name}" for name in asked(hub)} == files.keys()
    _, parts = load_model(folder)
    assert {path.name for path in parts} == asked(hub) - {CONFIG, INDEX, FP16_INDEX}
    count = len(hub.requests)
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    assert fetch_model("someone/pipeline", "vae") == folder
    assert len(hub.requests) == count


def test_a_shard_that_the_repository_lacks(hub, tmp_path):
    files = saved(tmp_path / "saved", max_shard_size="5KB")
    last = max(name for name in files if name.endswith(".safetensors"))
    del files[last]
    hub.add("someone/pipeline", files, "model")
    with pytest.raises(WeightsError, match=f"someone/pipeline has no file {last}"):
        fetch_model("someone/pipeline", "vae")


def test_a_shard_that_is_not_in_the_cache(hub, tmp_path, monkeypatch):
    hub.add("someone/pipeline", saved(tmp_path / "saved", max_shard_size="5KB"), "model")
    last = max(fetch_model("someone/pipeline", "vae").glob("*.safetensors"))
    last.unlink()
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    with pytest.raises(WeightsError, match="SSDD_BENCH_OFFLINE"):
        fetch_model("someone/pipeline", "vae")


@pytest.mark.parametrize("shard", ["../../x.safetensors", "*.safetensors"])
def test_an_index_on_the_hub_names_files_beside_it(hub, shard):
    index = json.dumps({"weight_map": {"a": shard}}).encode()
    files = {"vae/config.json": b"{}", f"vae/{INDEX}": index, "x.safetensors": CONTENT}
    hub.add("someone/pipeline", files, "model")
    with pytest.raises(WeightsError, match="no safetensors file of its folder"):
        fetch_model("someone/pipeline", "vae")
    assert asked(hub) == {CONFIG, INDEX}


def test_a_pipeline_needs_the_subfolder(hub, tmp_path, monkeypatch):
    files = {"model_index.json": b"{}", "vae/model.safetensors": CONTENT}
    hub.add("someone/pipeline", files | saved(tmp_path / "saved"), "model")
    for offline in ("0", "1"):
        monkeypatch.setenv("SSDD_BENCH_OFFLINE", offline)
        with pytest.raises(WeightsError, match="subfolder=vae"):
            fetch_model("someone/pipeline")
    assert asked(hub) == {CONFIG}
    hub.add("someone/other", {"vae/model.safetensors": CONTENT}, "model")
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "0")
    with pytest.raises(WeightsError, match=f"no file {CONFIG}"):
        fetch_model("someone/other")


def test_a_repository_without_weights(hub):
    hub.add("someone/pipeline", {"vae/config.json": b"{}"}, "model")
    with pytest.raises(WeightsError, match=f"has no file vae/{WEIGHTS}"):
        fetch_model("someone/pipeline", "vae")


def test_a_token_that_no_header_can_hold(hub, monkeypatch):
    hub.add("someone/model", {"weights": CONTENT}, "model")
    monkeypatch.setenv("HF_TOKEN", "hf_t\u00f6ken")
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        fetch("someone/model", ["weights"])
    assert "HF_TOKEN" in inspect_remote("someone/model", "weights").reason


def test_an_address_is_no_repository(hub):
    with pytest.raises(WeightsError, match="OWNER/NAME"):
        fetch(f"{hub.url}/someone/model", [CONFIG])
