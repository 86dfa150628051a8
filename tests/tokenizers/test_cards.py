"""The cards beside the shipped weights."""

import pytest
import torch
from safetensors.torch import load_file

from ssdd_bench.errors import OptionError
from ssdd_bench.evaluation.loading import load
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer
from ssdd_bench.results.records import read_record
from ssdd_bench.train.files import pack_file, read_card
from ssdd_bench.train.recipe import ModelRecipe
from ssdd_bench.weights.blocks import BLOCK, SCALES
from ssdd_bench.weights.files import load_safetensors, sha256_file
from ssdd_bench.weights.shared import encoder_of

STAGES = {"klvae": "klvae", "diffusion": "finetune", "ssdd": "distil"}
LATENTS = {"f8c4": 8, "f16c4": 16}
BYTES = 8_000_000
HALF = torch.float16


def files(name, latent):
    folder = TOKENIZERS.all()[name].folder / "weights"
    path = folder / f"{name}-mini-{latent}.safetensors"
    return path, read_card(path)


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("name", STAGES)
def test_card_tells_the_training_and_the_scores_on_unseen_photographs(name, latent):
    _, card = files(name, latent)
    family = "klvae" if name == "klvae" else "ssdd"
    origin, scores = card.origin, card.scores
    assert origin.command.split()[2] in (family, STAGES[name])
    assert origin.recipe_name == f"mini-{latent}"
    assert f"--recipe {origin.recipe_name} " in origin.command
    assert card.stage == STAGES[name]
    assert card.seconds > 0
    stage = card.recipe[card.stage]
    assert card.iterations == stage["iterations"]
    assert card.images_seen == card.iterations * stage["batch_size"] * stage["accumulate"]
    asked = name if latent == "f8c4" else f"{name}:f=16"
    assert scores.command.startswith(f"ssdd-bench run --tokenizers {asked} ")
    assert scores.n == origin.data.images - origin.data.trained_on
    assert scores.metrics["psnr"] > 18


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("name", STAGES)
def test_config_builds_the_network_of_the_weights(name, latent):
    path, card = files(name, latent)
    recipe = read_record(ModelRecipe, card.recipe["model"], str(path))
    assert f"f{recipe.f}c{recipe.z_dim}" == latent
    assert card.config == (recipe.klvae if name == "klvae" else {})
    tensors = load_safetensors(path)
    learned = [key for key in tensors if name == "klvae" or key.startswith("decoder.")]
    assert sum(tensors[key].numel() for key in learned) == card.parameters


@pytest.mark.parametrize("latent", LATENTS)
def test_both_families_saw_about_as_many_crops(latent):
    seen = {}
    for name in ("klvae", "ssdd"):
        _, card = files(name, latent)
        seen[name] = sum(cost.images_seen for cost in [*card.origin.before, card.cost()])
    assert 0.9 < seen["ssdd"] / seen["klvae"] < 1.1


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("name", STAGES)
def test_weights_are_small(name, latent):
    """Encoders are stored in float16, since latents belong to them, and decoders in eight bits."""
    path, _ = files(name, latent)
    assert path.stat().st_size < BYTES
    stored = load_file(path)
    kinds = {key: tensor.dtype for key, tensor in stored.items()}
    assert {kind for key, kind in kinds.items() if not key.startswith("decoder.")} <= {HALF}
    packed = {key: kind for key, kind in kinds.items() if kind != HALF}
    assert {*packed.values()} == {torch.int8}
    large = [key for key in kinds if key.startswith("decoder.") and stored[key].numel() >= 1024]
    large = [key for key in large if not key.endswith(SCALES) and not stored[key].numel() % BLOCK]
    assert {*packed} == {*large}


@pytest.mark.parametrize("name", STAGES)
def test_packing_a_shipped_file_again_gives_its_bytes(name, tmp_path):
    path, _ = files(name, "f8c4")
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    pack_file(copy, "decoder.")
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("latent", LATENTS)
def test_teacher_and_student_share_their_encoder(latent):
    path, _ = files("diffusion", latent)
    student = load_safetensors(files("ssdd", latent)[0])
    encoder = {key: value for key, value in student.items() if key.startswith("encoder.")}
    decoder = load_safetensors(path)
    assert encoder
    assert all(key.startswith("decoder.") for key in decoder)
    assert not all(decoder[key].equal(student[key]) for key in decoder)


@pytest.mark.medium
@pytest.mark.parametrize("f", LATENTS.values())
def test_a_record_names_the_checksums_of_both_files(f):
    record = load(f"diffusion:f={f}", torch.device("cpu")).record
    path, _ = files("diffusion", f"f{f}c4")
    assert record.weights == {
        path.name: sha256_file(path),
        f"ssdd-mini-f{f}c4.safetensors": encoder_of(path).sha256,
    }


@pytest.mark.slow
@pytest.mark.parametrize("f", LATENTS.values())
@pytest.mark.parametrize("name", STAGES)
def test_f_chooses_among_the_mini_weights(name, f):
    tokenizer = load_tokenizer(name, f=f)
    assert (tokenizer.latent.f, tokenizer.latent.channels) == (f, 4)


@pytest.mark.parametrize(("name", "option"), [("klvae", "path"), ("ssdd", "checkpoint")])
def test_f_beside_a_file_is_refused(name, option):
    with pytest.raises(OptionError, match="f=16 chooses among the mini weights"):
        load_tokenizer(name, f=16, **{option: "mine.safetensors"})
