"""Reconstructions made elsewhere: a run's numbers, and one clear line for what does not fit."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.cli.score import command
from ssdd_bench.data.images import open_images
from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.errors import DataError, UnknownNameError
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.evaluate import evaluate
from ssdd_bench.evaluation.pairs import evaluate_pairs
from ssdd_bench.evaluation.run import run_jobs
from ssdd_bench.metrics.features import base as features
from ssdd_bench.metrics.features.base import Extractor
from ssdd_bench.plugins.registry import load_tokenizer, parse_requests
from ssdd_bench.results.store import load_results

pytestmark = pytest.mark.usefixtures("quick_effnet")
METRICS = ("psnr", "psnr_pooled", "ssim", "fd_effnet")


@pytest.fixture(scope="module")
def photos(make_photos):
    return make_photos(5, (60, 50))


@pytest.fixture(scope="module")
def reconstructions(photos, tmp_path_factory):
    """PNG files of what jpeg:quality=30 makes of the 48 px crops."""
    folder = tmp_path_factory.mktemp("restored")
    tokenizer = load_tokenizer("jpeg", quality=30)
    source = open_images(photos)
    for name in source.ids:
        crop = np.array(CROPS["adm"](source.read(name), 48))
        image = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
        restored = tokenizer.decode(tokenizer.encode(image), KeyedNoise(0, [name], "decode"))
        pixels = (restored[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / name)
    return folder


def score(*args):
    done = CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=True)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.mark.slow
def test_loading_threads_change_no_number(photos, reconstructions, tmp_path):
    found = []
    for threads in ("auto", 0, 3):
        out = tmp_path / str(threads)
        options = ["--res", 48, "--metrics", ",".join(METRICS), "--load-threads", threads]
        assert score(photos, reconstructions, *options, "--out", out).exit_code == 0
        (result,) = load_results([out])
        found.append((result.metrics, result.fingerprint))
    assert found[0] == found[1] == found[2]


@pytest.mark.medium
def test_same_numbers_as_a_run(photos, reconstructions, tmp_path):
    done = score(
        photos, reconstructions, "--res", 48, "--metrics", ",".join(METRICS), "--out",
        tmp_path / "score", "--label", "mine",
    )  # fmt: skip
    assert done.exit_code == 0
    assert "mine" in done.stdout
    (found,) = load_results([tmp_path / "score"])
    run_jobs(
        RunConfig(
            requests=tuple(parse_requests("jpeg:quality=30")),
            resolutions=(48,),
            metrics=METRICS,
            out=tmp_path / "run",
            data=photos,
            device="cpu",
            speed=False,
            pictures=False,
        )
    )
    (expected,) = load_results([tmp_path / "run"])
    assert found.metrics == expected.metrics
    assert found.data.pixels_sha256 == expected.data.pixels_sha256
    assert (tmp_path / "score" / found.scores).exists()
    assert found.tokenizer.family == "reconstructions"


class Pooled(Extractor):
    """A quick network with features of many magnitudes, whose products do not add up exactly."""

    layers = {"pool": 12}  # noqa: RUF012
    backend = "pooled 1"

    def __call__(self, images):
        pooled = torch.nn.functional.adaptive_avg_pool2d(images.float() / 20, 2)
        return {"pool": pooled.exp().flatten(1).numpy()}


@pytest.mark.slow
def test_chunks_are_those_of_a_run(photo_like, monkeypatch):
    monkeypatch.setattr(features, "make_extractor", lambda key, device: Pooled())
    images, settings = photo_like(200, side=8), {"device": "cpu", "progress": False}
    settings["metrics"] = ["fd_effnet", "psnr"]
    expected = evaluate("downsample:factor=2", data=images, resolution=8, **settings)
    tokenizer = load_tokenizer("downsample", factor=2)
    restored = tokenizer.decode(tokenizer.encode(images.float() / 255), KeyedNoise(0, [], "decode"))
    restored = (restored.clamp(0, 1) * 255).round().byte()
    found = evaluate_pairs(images, restored, **settings)
    assert found.metrics == expected.metrics
    assert found.metrics["fd_effnet"].value > 1


@pytest.mark.medium
def test_arrays_are_paired_by_position(photos, reconstructions, tmp_path):
    source = open_images(reconstructions)
    pixels = np.stack([np.array(source.read(name)) for name in source.ids])
    np.savez(tmp_path / "restored.npz", arr_0=pixels)
    options = ["--res", 48, "--metrics", "psnr,ssim", "--out"]
    score(photos, reconstructions, *options, tmp_path / "a")
    score(photos, tmp_path / "restored.npz", *options, tmp_path / "b")
    (a,), (b,) = (load_results([tmp_path / name]) for name in "ab")
    assert a.metrics == b.metrics
    shuffled = pixels[[1, 0, 2, 3, 4]]
    np.savez(tmp_path / "shuffled.npz", arr_0=shuffled)
    score(photos, tmp_path / "shuffled.npz", *options, tmp_path / "c")
    assert load_results([tmp_path / "c"])[0].metrics["psnr"].value < a.metrics["psnr"].value - 1


@pytest.mark.medium
def test_jpeg_files_are_warned_of(reconstructions, tmp_path):
    folder = tmp_path / "lossy"
    folder.mkdir()
    for path in reconstructions.iterdir():
        Image.open(path).save(folder / f"{path.stem}.jpg", quality=95)
    done = score(reconstructions, folder, "--metrics", "psnr", "--out", tmp_path / "out")
    assert "reconstructions are JPEG files" in done.stdout
    (result,) = load_results([tmp_path / "out"])
    assert 25 < result.metrics["psnr"].value < 100


@pytest.mark.medium
def test_an_image_above_the_limit_is_not_decoded(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (700, 700)).save(tmp_path / name / "0.png")
    options = ["--metrics", "psnr", "--out", tmp_path / "out"]
    with pytest.raises(DataError, match="max_image_mb"):
        score(tmp_path / "a", tmp_path / "b", *options, "--max-image-mb", 1)
    assert score(tmp_path / "a", tmp_path / "b", *options).exit_code == 0


def test_what_does_not_fit_is_one_line_and_writes_nothing(photos, reconstructions, tmp_path):
    out = tmp_path / "out"

    def refused(reference, reconstruction, *more):
        with pytest.raises(DataError) as caught:
            score(reference, reconstruction, "--metrics", "psnr", "--out", out, *more)
        assert not list(out.glob("*.json"))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "0.png has 60 x 50 px, expected 48 x 48" in refused(photos, reconstructions)
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for path in sorted(reconstructions.iterdir())[:-1]:
        (fewer / path.name).write_bytes(path.read_bytes())
    assert "first '4' in" in refused(photos, fewer, "--res", 48)
    (fewer / "0.bmp").write_bytes((fewer / "0.png").read_bytes())
    assert "two images named '0'" in refused(photos, fewer, "--res", 48)
    assert "no such file" in refused(photos, tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match="psnr"):
        score(photos, reconstructions, "--res", 48, "--metrics", "psnrr", "--out", out)
