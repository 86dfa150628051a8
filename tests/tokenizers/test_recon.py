"""Images that were reconstructed elsewhere, matched by name."""

import pytest
import torch
from PIL import Image

from ssdd_bench.api.noise import KeyedNoise, OrderedNoise
from ssdd_bench.errors import WeightsError
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.conformance import IDS, check_tokenizer, make_images
from ssdd_bench.evaluation.run import run_jobs
from ssdd_bench.plugins.registry import load_tokenizer, parse_requests


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    for name, image in zip(IDS, make_images(64), strict=True):
        save(image, tmp_path / "recon" / f"{name}.png")
    return tmp_path / "recon"


@pytest.mark.medium
def test_contract(folder):
    assert check_tokenizer(f"recon:dir={folder}") == []
    assert check_tokenizer(f"recon:dir={folder},f=8,channels=4") == []
    assert check_tokenizer(f"recon:dir={folder},tokens=32,channels=16") == []
    assert load_tokenizer(f"recon:dir={folder},tokens=32").latent.tokens == 32


@pytest.mark.parametrize(
    "noise", [KeyedNoise(0, IDS[1:], "decode"), OrderedNoise(0, 2, ids=IDS[1:])]
)
def test_images_are_matched_by_name_and_not_by_order(folder, noise):
    tokenizer, images = load_tokenizer(f"recon:dir={folder}"), make_images(64)
    decoded = tokenizer.decode(tokenizer.encode(images[:2]), noise)
    torch.testing.assert_close(decoded, images[1:])


@pytest.mark.parametrize("image_id", ["a/photo.v2.JPEG", "a/photo.v2"])
def test_suffixes_may_differ_and_folders_tell_names_apart(image_id, tmp_path):
    first, second, _ = make_images(16)
    save(first, tmp_path / "a" / "photo.v2.png")
    save(second, tmp_path / "b" / "photo.v2.png")
    tokenizer = load_tokenizer(f"recon:dir={tmp_path}")
    latent = tokenizer.encode(first[None])
    decoded = tokenizer.decode(latent, KeyedNoise(0, [image_id], "decode"))
    torch.testing.assert_close(decoded[0], first)
    with pytest.raises(WeightsError, match="2 files for image photo"):
        tokenizer.decode(latent, KeyedNoise(0, ["photo.v2.JPEG"], "decode"))


def test_a_name_that_occurs_once_is_enough(tmp_path):
    image = make_images(16)[0]
    save(image, tmp_path / "deep" / "photo.png")
    tokenizer = load_tokenizer(f"recon:dir={tmp_path}")
    latent = tokenizer.encode(image[None])
    noise = KeyedNoise(0, ["class/photo.JPEG"], "decode")
    torch.testing.assert_close(tokenizer.decode(latent, noise)[0], image)


def test_missing_damaged_and_wrong_sizes_are_one_line(folder):
    tokenizer = load_tokenizer(f"recon:dir={folder}")
    (folder / "damaged.png").write_text("no")
    tokenizer = load_tokenizer(f"recon:dir={folder}")
    for side, name, message in (
        (64, "other", "0 files for image other"),
        (32, "first", r"first\.png has 64 x 64 px, expected 32 x 32"),
        (64, "damaged", "damaged, or no image"),
    ):
        latent = tokenizer.encode(torch.zeros(1, 3, side, side))
        with pytest.raises(WeightsError, match=message) as caught:
            tokenizer.decode(latent, KeyedNoise(0, [name], "decode"))
        assert "\n" not in str(caught.value)
    for wrong in ("recon", f"recon:dir={folder}/none"):
        with pytest.raises(WeightsError, match="no folder"):
            load_tokenizer(wrong)


@pytest.mark.slow
def test_a_run_scores_and_times_them(make_photos, tmp_path):
    photos = make_photos(3, (16, 16))
    for file in photos.iterdir():
        Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
            tmp_path / file.name
        ) if file.stem == "1" else Image.open(file).save(tmp_path / file.name)
    plan = RunConfig(
        requests=tuple(parse_requests(f"recon:dir={tmp_path}")),
        resolutions=(16,),
        metrics=("mse",),
        out=tmp_path / "runs",
        data=photos,
        device="cpu",
        pictures=False,
    )
    (finished,) = run_jobs(plan).finished
    assert finished.result.metrics["mse"].value > 0  # of the flipped one
    assert finished.result.speed is not None
