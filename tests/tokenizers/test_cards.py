"""The cards beside the shipped weights."""

import json

import pytest

from ssdd_bench.errors import OptionError
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer
from ssdd_bench.weights.files import load_safetensors

STAGES = {"klvae": "klvae", "diffusion": "finetune", "ssdd": "distil"}
LATENTS = {"f8c4": 8, "f16c4": 16}
BYTES = 8_000_000


def files(name, latent):
    folder = TOKENIZERS.all()[name].folder / "weights"
    stem = folder / f"{name}-mini-{latent}"
    return stem.with_suffix(".safetensors"), json.loads(stem.with_suffix(".json").read_text())


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("name", STAGES)
def test_card_tells_the_training_and_the_scores_on_unseen_photographs(name, latent):
    _, card = files(name, latent)
    family = "klvae" if name == "klvae" else "ssdd"
    trained, recipe = card["command"].split()[2], card["recipe_name"]
    assert trained in (family, STAGES[name])
    assert recipe == f"mini-{latent}"
    assert f"--recipe {recipe} " in card["command"]
    assert card["stage"] == STAGES[name]
    assert card["seconds"] > 0
    stage = card["recipe"][card["stage"]]
    assert card["iterations"] == stage["iterations"]
    assert card["images_seen"] == card["iterations"] * stage["batch_size"] * stage["accumulate"]
    scores = card["scores"]
    asked = name if latent == "f8c4" else f"{name}:f=16"
    assert scores["command"].startswith(f"ssdd-bench run --tokenizers {asked} ")
    assert scores["n"] == card["data"]["images"] - card["data"]["trained_on"]
    assert scores["psnr"] > 18


@pytest.mark.parametrize("latent", LATENTS)
def test_both_families_saw_about_as_many_crops(latent):
    seen = {}
    for name in ("klvae", "ssdd"):
        _, card = files(name, latent)
        seen[name] = sum(stage["images_seen"] for stage in [*card["before"], card])
    assert 0.9 < seen["ssdd"] / seen["klvae"] < 1.1


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("name", STAGES)
def test_weights_are_small_and_in_half_precision(name, latent):
    path, _ = files(name, latent)
    assert path.stat().st_size < BYTES
    assert {str(tensor.dtype) for tensor in load_safetensors(path).values()} == {"torch.float16"}


@pytest.mark.parametrize("latent", LATENTS)
def test_teacher_and_student_share_their_encoder(latent):
    """Which is what lets one DiT serve both."""
    teacher, student = (load_safetensors(files(name, latent)[0]) for name in ("diffusion", "ssdd"))
    encoder = {key for key in teacher if key.startswith("encoder.")}
    assert encoder
    assert all(teacher[key].equal(student[key]) for key in encoder)
    assert not all(teacher[key].equal(student[key]) for key in teacher.keys() - encoder)


@pytest.mark.parametrize("f", LATENTS.values())
@pytest.mark.parametrize("name", STAGES)
def test_f_chooses_among_the_mini_weights(name, f):
    tokenizer = load_tokenizer(name, f=f)
    assert (tokenizer.latent.f, tokenizer.latent.channels) == (f, 4)


@pytest.mark.parametrize(("name", "option"), [("klvae", "path"), ("ssdd", "checkpoint")])
def test_f_beside_a_file_is_refused(name, option):
    with pytest.raises(OptionError, match="f=16 chooses among the mini weights"):
        load_tokenizer(name, f=16, **{option: "mine.safetensors"})
