"""Model cards from the command line."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

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
