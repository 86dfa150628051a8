"""Training from the command line: its files, and the command that evaluates them."""

import os

import pytest

from ssdd_bench.launch.lock import locked
from ssdd_bench.train.recipe import RECIPES

RECIPE = """
base = "mini-f8c4"
[model.klvae]
block_out_channels = [16, 16, 16, 16]
[klvae]
batch_size = 2
discriminator_width = 8
resolution = 32
min_side = 32
max_side = 48
[evaluation]
holdout = 0.2
images = 2
resolution = 64
"""


@pytest.fixture
def recipe(tmp_path):
    """The file of a recipe of narrow networks, beside that which it begins with."""
    (tmp_path / "mini-f8c4.toml").write_text((RECIPES / "mini-f8c4.toml").read_text())
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.medium
@pytest.mark.parametrize("there", [True, False])
def test_a_cpu_without_bfloat16_is_named(
    there, program, recipe, make_photos, tmp_path, monkeypatch
):
    monkeypatch.setattr("ssdd_bench.train.loop.has_kernels", lambda dtype, device: there)
    photos = make_photos(10, (64, 48))
    code, _, error = program(
        *("train", "klvae", "--recipe", recipe, "--data", photos),
        *("--minutes", 0, "--out", tmp_path / "out"),
    )
    assert code == 0, error
    assert error.count("no bfloat16") == (not there)


@pytest.mark.medium
def test_a_second_training_in_one_folder_is_refused(program, recipe, make_photos, tmp_path):
    arguments = (
        *("train", "klvae", "--recipe", recipe, "--data", make_photos(10, (64, 48))),
        *("--minutes", 0, "--out", tmp_path / "out"),
    )
    folder = tmp_path / "out" / "klvae"
    folder.mkdir(parents=True)
    with locked(folder):
        code, _, error = program(*arguments)
    assert code == 2
    assert f"{folder} is in use by process {os.getpid()}" in error
    assert not (folder / "checkpoint.pt").exists()


@pytest.mark.slow
def test_the_last_line_evaluates_what_was_trained(
    program, recipe, make_photos, tmp_path, monkeypatch
):
    photos = make_photos(10, (64, 48))
    monkeypatch.chdir(tmp_path)
    code, _, error = program(
        *("train", "klvae", "--recipe", recipe.name, "--data", photos, "--iterations", 1),
        *("--track", "tensorboard"),
    )
    assert code == 0, error
    assert list((tmp_path / "train" / "small" / "klvae" / "tensorboard").glob("events*"))
    command = error.splitlines()[-1].split()
    assert command == [
        "ssdd-bench",
        "run",
        "--tokenizers",
        "klvae:path=train/small/klvae.safetensors",
    ]
    code, out, error = program(
        *command[1:], "--limit", 1, "--res", 64, "--metrics", "psnr", "--no-speed"
    )
    assert code == 0, error
    assert "klvae" in out


@pytest.mark.parametrize("what", ["ssdd", "klvae", "encoder"])
def test_what_starts_from_nothing_takes_no_start(what, program, recipe, tmp_path):
    code, told, error = program(
        *("train", what, "--recipe", recipe, "--data", tmp_path),
        *("--start", tmp_path / "x.safetensors", "--out", tmp_path / "out"),
    )
    assert (code, told) == (2, "")
    (line,) = error.splitlines()
    assert "--start" in line
    assert "pretrain" in line
    assert not (tmp_path / "out").exists()
