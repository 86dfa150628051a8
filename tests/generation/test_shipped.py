"""The network of latents that comes with the package."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ssdd_bench.cli.main import cli
from ssdd_bench.errors import WeightsError
from ssdd_bench.evaluation.loading import load
from ssdd_bench.generation.identity import encoder_sha256
from ssdd_bench.generation.model import load_latent_model, shipped_for
from ssdd_bench.results.store import load_results
from ssdd_bench.train.files import read_card

COMMITTED = Path(__file__).parents[2] / "results" / "generation"


def shipped(name):
    return shipped_for(encoder_sha256(load(name)))


@pytest.mark.slow
def test_it_draws_out_of_the_box(tmp_path):
    line = f"gen sample --tokenizer ssdd --samples 3 --steps 2 --cfg 1.5 --quiet --out {tmp_path}"
    done = CliRunner().invoke(cli, line.split())
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "samples.npz") as samples:
        assert samples["arr_0"].shape == (3, 64, 64, 3)
        assert len(set(samples["arr_1"].tolist())) == 3
        assert samples["arr_0"].std() > 20
    assert (tmp_path / "samples.png").stat().st_size > 1000


@pytest.mark.medium
def test_it_serves_every_decoder_of_its_encoder_and_no_other():
    assert shipped("ssdd") == shipped("diffusion:steps=4")
    for other in ("klvae", "ssdd:f=16"):
        with pytest.raises(WeightsError, match="no network of latents comes with the package"):
            shipped(other)


@pytest.mark.medium
def test_it_is_small_and_its_card_tells_how_it_was_made():
    path = shipped("ssdd")
    assert path.stat().st_size < 10_000_000
    card = read_card(path)
    assert len(card.latents.classes) == 10
    assert card.origin.command.startswith("ssdd-bench train-dit --latents ssdd/latents ")
    assert card.images_seen == card.iterations * card.recipe["dit"]["batch_size"]
    assert card.seconds > 0
    assert card.licence == "Apache-2.0"
    assert load_latent_model(path, 4).training["iterations"] == card.iterations


@pytest.mark.medium
def test_committed_rows_of_its_decoders_were_drawn_with_it():
    (sha256,) = load_latent_model(shipped("ssdd"), 4).weights.values()
    rows = load_results([COMMITTED])
    mine = [row for row in rows if row.tokenizer.id != "klvae" and row.latent.f == 8]
    assert len(mine) > 10
    assert {tuple(row.generation.weights.values()) for row in mine} == {(sha256,)}
