"""Latents on disk: resumable, the same for any number of processes, useless without statistics."""

import signal

import numpy as np
import pytest
import torch
from mortal import Life, MortalBlockMean, run_elsewhere
from PIL import Image, ImageOps
from safetensors.torch import load_file

from ssdd_bench.api import Latent, LatentSpec
from ssdd_bench.data.images import open_images
from ssdd_bench.data.latents import LatentSet
from ssdd_bench.data.npz import write_npz
from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.data.source import class_names
from ssdd_bench.data.statistics import ChannelStats
from ssdd_bench.errors import DataError, PluginError, ResolutionError, UserError
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.generation import identity
from ssdd_bench.generation import latents as module
from ssdd_bench.generation.identity import check_encoder, encoder_sha256
from ssdd_bench.generation.latents import LatentsPlan, encode_latents, pixel_sums
from ssdd_bench.launch.shares import Share


def shards(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*"))}


def test_shards_hold_each_image_its_mirror_image_and_its_label(photos, latents, block_mean):
    source = open_images(photos)
    assert latents.record.config.classes == ("cat", "dog")
    assert len(shards(latents.folder)) == 3  # of 24 images, 10 a shard
    rows = np.array([0, 9, 10, 23])
    tokenizer = block_mean()
    for mirrored in (False, True):
        found = latents.batch(rows, np.full(4, mirrored))
        for latent, row in zip(found, rows, strict=True):
            crop = torch.from_numpy(CROPS["adm"](source.read(source.ids[row]), 16).copy())
            image = crop.permute(2, 0, 1)[None].float() / 255
            expected = tokenizer.encode(image.flip(-1) if mirrored else image).data[0]
            torch.testing.assert_close(latent, expected)
    assert latents.labels[rows].tolist() == [0, 0, 0, 1]


def test_statistics_are_those_of_everything_and_undo_themselves(latents):
    everything = np.concatenate(
        [
            load_file(path)[name].numpy()
            for path in sorted(latents.folder.glob("shard-*"))
            for name in ("latents", "latents_flip")
        ]
    ).astype(np.float64)
    statistics = latents.record.statistics
    np.testing.assert_allclose(statistics.mean, everything.mean((0, 2, 3)), rtol=1e-12)
    by_channel = everything.transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(statistics.std, by_channel.std(1, ddof=1), rtol=1e-9)
    z = torch.from_numpy(everything)
    normal = statistics.normalise(z)
    assert normal.mean((0, 2, 3)).abs().max() < 1e-9
    torch.testing.assert_close(normal.std((0, 2, 3)), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(statistics.denormalise(normal), z)
    with pytest.raises(UserError, match="latents have 3 channels, the statistics 2"):
        ChannelStats((0.0, 0.0), (1.0, 1.0)).normalise(z)


def test_pixel_statistics_are_those_of_the_crops(photos, latents):
    source = open_images(photos)
    pixels = np.stack([CROPS["adm"](source.read(name), 16) for name in source.ids]) / 255.0
    np.testing.assert_allclose(latents.record.pixels.mean, pixels.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(latents.record.pixels.std, pixels.std((0, 1, 2)), rtol=1e-9)


def test_sums_of_pixels_are_exact():
    pixels = torch.randint(0, 256, (3, 3, 40, 50), dtype=torch.uint8)
    pixels[0] = 255  # whose squares overflow an int8
    wide = pixels.numpy().astype(np.int64)
    expected = np.stack([wide.sum((0, 2, 3)), (wide**2).sum((0, 2, 3))])
    np.testing.assert_array_equal(pixel_sums(pixels).numpy(), expected)


def test_two_processes_and_a_resumed_run_write_the_same_bytes(photos, latents, encode, tmp_path):
    for index in (1, 0):
        launch = Launch(in_process=True, share=Share(index, 2))
        assert encode(photos, tmp_path, launch=launch) is None
    assert not (tmp_path / "latents.json").exists()
    record = encode(photos, tmp_path)
    assert record.statistics == latents.record.statistics
    assert shards(tmp_path) == shards(latents.folder)

    path = tmp_path / "shard-00001.safetensors"
    before = (tmp_path / "shard-00000.safetensors").stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[:-7])  # a disk that was full
    (tmp_path / "latents.json").unlink()
    with pytest.raises(UserError, match="statistics that latents are scaled by"):
        LatentSet(tmp_path)
    with pytest.warns(RuntimeWarning, match=r"shard-00001\.safetensors is damaged"):
        encode(photos, tmp_path)
    assert shards(tmp_path) == shards(latents.folder)
    assert (tmp_path / "shard-00000.safetensors").stat().st_mtime_ns == before


def test_a_shard_with_a_changed_bit_is_refused_and_made_again(photos, latents, encode, tmp_path):
    encode(photos, tmp_path)
    path = tmp_path / "shard-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    found = LatentSet(tmp_path)
    flips = np.zeros(2, bool)
    found.batch(np.array([0, 23]), flips)
    with pytest.raises(UserError, match=r"shard-00001\.safetensors: damaged"):
        found.batch(np.array([0, 12]), flips)
    with pytest.warns(RuntimeWarning, match=r"shard-00001\.safetensors is damaged"):
        encode(photos, tmp_path)
    assert shards(tmp_path) == shards(latents.folder)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_any_number_of_workers_writes_the_same_bytes(photos, latents, encode, jobs, tmp_path):
    launch = Launch(jobs=jobs, threads=1)
    life = Life(tmp_path / "grave", 1)  # the first worker is killed in its second call
    record = encode(photos, tmp_path / "out", MortalBlockMean(life), launch=launch)
    assert (tmp_path / "grave").exists()
    assert shards(tmp_path / "out") == shards(latents.folder)
    assert record.statistics == latents.record.statistics
    assert record.pixels == latents.record.pixels


@pytest.mark.slow
def test_a_killed_launch_costs_one_shard(photos, latents, record, tmp_path):
    out, life = tmp_path / "out", Life(tmp_path / "grave", 5)
    loaded = LoadedTokenizer(MortalBlockMean(life), record())
    plan = LatentsPlan(loaded, photos, 16, out, shard_images=10)
    assert run_elsewhere(encode_latents, plan, tmp_path) == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in out.glob("shard-*")}
    assert len(before) == 2
    encode_latents(plan, torch.device("cpu"))
    assert before.items() <= {path: path.stat().st_mtime_ns for path in before}.items()
    assert shards(out) == shards(latents.folder)


def test_a_sampled_posterior_belongs_to_the_image(photos, latents, encode, tmp_path):
    encode(photos, tmp_path / "a", posterior="sample")
    encode(photos, tmp_path / "b", posterior="sample", seed=1)
    a, b = (LatentSet(tmp_path / name).batch(np.arange(3), np.zeros(3, bool)) for name in "ab")
    mode = latents.batch(np.arange(3), np.zeros(3, bool))
    assert not torch.equal(a, b)
    assert (a - mode).std().item() == pytest.approx(0.1, rel=0.3)


def test_without_flips(photos, encode, tmp_path):
    encode(photos, tmp_path, flips=False)
    assert set(load_file(tmp_path / "shard-00000.safetensors")) == {"labels", "latents"}


def test_other_latents_in_the_folder_are_refused(photos, latents, encode, block_mean, record):
    with pytest.raises(UserError, match="holds latents of other images, options or weights"):
        encode(photos, latents.folder, named=record(label="block-mean:x=1", x=1))


@pytest.fixture(params=["npz", "folder"])
def alike(request, photos, tmp_path):
    """Two sets of images with the same name and the same ids; only pixels differ."""
    source = open_images(photos)
    found = []
    for name in "xy":
        path = tmp_path / name / "train"
        images = [source.read(one) for one in source.ids]
        if name == "y":
            images = [ImageOps.invert(one) for one in images]
        if request.param == "npz":
            path = path.with_suffix(".npz")
            arrays = [np.array(one)[None] for one in images]
            shape = (len(images), *arrays[0].shape[1:])
            write_npz(path, arrays, shape, np.zeros(len(images), np.int64))
        else:
            for image_id, image in zip(source.ids, images, strict=True):
                (path / image_id).parent.mkdir(parents=True, exist_ok=True)
                image.save(path / image_id)
        found.append(path)
    return found


@pytest.mark.medium
def test_other_images_of_the_same_name_and_ids_are_refused(alike, encode, tmp_path):
    """Every npz numbers its images alike, and files of a folder can be replaced."""
    one, other = alike
    out = tmp_path / "out"
    encode(one, out)
    assert encode(other, tmp_path / "elsewhere").config.key != LatentSet(out).record.config.key
    for missing in ((), ("shard-00001.safetensors",), ("latents.json",)):
        for name in missing:
            (out / name).unlink()
        before = shards(out)
        with pytest.raises(UserError, match="--out"):
            encode(other, out)
        with pytest.raises(UserError, match="--out"):
            encode(other, out, launch=Launch(in_process=True, share=Share(1, 2)))
        assert shards(out) == before
    encode(one, out)
    assert len(LatentSet(out)) == 24


def test_encoders_are_told_apart_by_weights_and_not_by_name(block_mean, record, monkeypatch):
    class WithWeights(block_mean):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.network = torch.nn.Linear(2, 2)

        def networks(self):
            return {"encoder": self.network, "decoder": torch.nn.Linear(1, 1)}

    same = encoder_sha256(LoadedTokenizer(WithWeights(0), record("one")))
    assert (
        encoder_sha256(LoadedTokenizer(WithWeights(0).to("cpu", torch.float64), record("two")))
        == same
    )
    check_encoder(LoadedTokenizer(WithWeights(0), record("two")), same, "one", "dit")
    with pytest.raises(UserError, match=r"dit: latents are those of 'one' \(encoder .* 'other'"):
        check_encoder(LoadedTokenizer(WithWeights(1), record("other")), same, "one", "dit")
    seeds = {"one": 0, "two": 0, "other": 1}
    loaded = {label: LoadedTokenizer(WithWeights(n), record(label)) for label, n in seeds.items()}
    monkeypatch.setattr(identity, "load", loaded.__getitem__)
    assert identity.check_shared_encoder("one", ["one", "two"]) == (same, ["one", "two"])
    with pytest.raises(UserError, match=r"--decoders: .* 'one' .* 'other'"):
        identity.check_shared_encoder("one", ["two", "other"])


def test_bad_input_is_one_line(photos, encode, block_mean, record, tmp_path):
    with pytest.raises(PluginError, match="has discrete latents and a DiT needs continuous"):
        encode(photos, tmp_path / "bad", block_mean(kind="discrete"))
    row = block_mean()
    row.latent = LatentSpec("continuous", 0, 3, tokens=16)
    with pytest.raises(PluginError, match="16 tokens in a row and a DiT needs a grid"):
        encode(photos, tmp_path / "bad", row)
    loaded = LoadedTokenizer(block_mean(), record())
    with pytest.raises(ResolutionError, match="18 px is not a multiple of f = 4"):
        encode_latents(LatentsPlan(loaded, photos, 18, tmp_path / "bad"), torch.device("cpu"))
    with pytest.raises(DataError, match="1 of 2 images lie in no class folder"):
        class_names(["cat/0.png", "1.png"])
    assert set(class_names(["0.png", "1.png"])) == {"."}  # one class: no labels at all
    (tmp_path / "grey").mkdir()
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "grey" / "0.png")
    with pytest.raises(UserError, match="latent channel 0 is constant"):
        encode(tmp_path / "grey", tmp_path / "out")
    (tmp_path / "grey" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"grey: 1\.png"):
        encode(tmp_path / "grey", tmp_path / "more")


def test_the_encoder_is_guarded(photos, latents, encode, block_mean, tmp_path):
    class Changes(block_mean):
        def encode(self, images, noise=None):
            torch.set_default_dtype(torch.float64)
            return super().encode(images, noise)

    class Leaves(block_mean):
        def encode(self, images, noise=None):
            raise SystemExit(0)

    with pytest.warns(RuntimeWarning, match="block-mean: encoding it changed torch's default dty"):
        encode(photos, tmp_path / "changes", Changes())
    assert torch.get_default_dtype() == torch.float32
    assert shards(tmp_path / "changes") == shards(latents.folder)
    with pytest.raises(UserError, match=r"block-mean called sys\.exit"):
        encode(photos, tmp_path / "leaves", Leaves())


def test_freed_memory_is_kept_where_the_encoder_is(photos, encode, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(module, "keep_freed_memory", lambda: kept.append(True))
    encode(photos, tmp_path / "out")
    assert kept == [True]


def test_latents_of_another_type_are_refused(photos, encode, block_mean, tmp_path):
    class Integers(block_mean):
        def encode(self, images, noise=None):
            latent = super().encode(images, noise)
            return Latent(latent.data.long(), latent.size)

    with pytest.raises(UserError, match=r"torch\.int64"):
        encode(photos, tmp_path, Integers())
