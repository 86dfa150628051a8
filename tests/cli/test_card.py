"""Model cards from the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from diffusers import AutoencoderKL
from huggingface_hub import ModelCard

from ssdd_bench.results.store import load_results, save_result

MINI = Path(__file__).parents[2] / "results" / "mini"


@pytest.mark.medium
def test_a_card_with_the_table(program, tmp_path) -> None:
    path = tmp_path / "README.md"
    code, out, error = program("card", MINI, "--tokenizer", "ssdd", "--out", path)
    assert code == 0, error
    assert out == f"{path}\n"
    card = ModelCard.load(path)
    assert card.data.model_name == "ssdd"
    rows = [line for line in card.text.splitlines() if line.startswith("| ")]
    assert any(row.startswith("| ssdd") for row in rows)
    assert not any(row.startswith("| klvae") for row in rows)


@pytest.mark.medium
def test_a_tokenizer_by_its_path(program, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    AutoencoderKL(block_out_channels=[8], norm_num_groups=4).save_pretrained("my-vae")
    result = load_results([MINI])[0]
    named = replace(result.tokenizer, id="diffusers", label="diffusers:path=my-vae")
    save_result(replace(result, tokenizer=named, scores=""), tmp_path / "runs")
    for given in ("./my-vae", "my-vae/", "diffusers:path=my-vae"):
        code, out, error = program("card", "runs", "--tokenizer", given)
        assert (code, out) == (0, "README.md\n"), error
    code, _, error = program("card", "runs", "--tokenizer", "./your-vae")
    assert (code, error.count("\n")) == (2, 1)


def test_a_tokenizer_without_results(program, tmp_path) -> None:
    code, _, error = program("card", MINI, "--tokenizer", "sdd", "--out", tmp_path / "card.md")
    assert (code, error.count("\n")) == (2, 1)
    assert not (tmp_path / "card.md").exists()


@pytest.mark.medium
def test_pushed_cards_are_checked_by_the_hub(program, hub, tmp_path) -> None:
    path = tmp_path / "README.md"
    arguments = ("card", MINI, "--tokenizer", "ssdd", "--out", path, "--json")
    code, out, error = program(*arguments, "--push", "someone/ssdd")
    assert code == 0, error
    assert json.loads(out)["url"].startswith(hub.url)
    assert hub.repositories["model", "someone/ssdd"].files == {"README.md": path.read_bytes()}
    assert "POST /api/validate-yaml" in hub.requests
