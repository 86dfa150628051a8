import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ssdd_bench.cli._output import LIST_WIDTH as WIDTH
from ssdd_bench.cli.list import command
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.manifest import FACTS
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.protocols.registry import PROTOCOLS

MANIFEST = """
id = "{name}"
title = "T"
family = "test"
description = "D"
licence = "MIT"
version = "1"
note = "[bold] in brackets"
"""


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def broken_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, more in (("broken-one", "nonsense = 1"), ("whole-one", "")):
        folder = tmp_path / name.replace("-", "_")
        folder.mkdir()
        (folder / "tokenizer.toml").write_text(MANIFEST.format(name=name) + more)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.medium
def test_table_of_tokenizers_fits_and_says_what_matters() -> None:
    lines = invoke("tokenizers").stdout.splitlines()
    assert lines[0].split() == [
        "id",
        "family",
        "latent",
        "options",
        "licence",
        "source",
        "note",
    ]
    assert max(map(len, lines)) <= WIDTH
    assert [line.split()[0] for line in lines if line[0].isalpha()][1:] == list(TOKENIZERS.all())
    text = "\n".join(lines)
    for piece in ("f8c4", "8 bits", "bytes", "quality=75", "subsampling=4:2:0", "lossless=false"):
        assert piece in text
    assert invoke().stdout == invoke("tokenizers").stdout


def test_width_of_the_terminal_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert 100 < max(map(len, invoke("tokenizers").stdout.splitlines())) <= 140


def test_json_of_tokenizers_holds_the_manifest() -> None:
    listed = json.loads(invoke("tokenizers", "--json").stdout)
    assert listed["broken"] == []
    assert [one["id"] for one in listed["tokenizers"]] == list(TOKENIZERS.all())
    jpeg = next(one for one in listed["tokenizers"] if one["id"] == "jpeg")
    assert jpeg["options"]["quality"]["maximum"] == 100
    assert jpeg["latent"]["kind"] == "bytes"


@pytest.mark.medium
def test_a_broken_tokenizer_is_a_warning_beside_the_others(broken_and_whole: Path) -> None:
    result = invoke("tokenizers")
    assert "whole-one" in result.stdout
    assert "broken" not in result.stdout
    assert result.stderr.startswith(f"warning: broken-one (folder {broken_and_whole}) is left out")
    assert "unknown key 'nonsense'" in result.stderr
    listed = json.loads(invoke("tokenizers", "--json").stdout)
    (broken,) = listed["broken"]
    assert (broken["name"], broken["source"]) == ("broken-one", f"folder {broken_and_whole}")


def test_brackets_in_a_note_are_shown(broken_and_whole: Path) -> None:
    assert "[bold]" in invoke("tokenizers").stdout


def test_metrics() -> None:
    text = invoke("metrics").stdout
    assert all(key in text for key in find_metrics())
    assert max(map(len, text.splitlines())) <= WIDTH
    listed = json.loads(invoke("metrics", "--json").stdout)["metrics"]
    assert [one["key"] for one in listed] == list(find_metrics())
    by_key = {one["key"]: one for one in listed}
    assert by_key["psnr"]["higher_is_better"] is True
    assert by_key["sfid"]["moments"] == ["mu_s", "sigma_s"]
    assert by_key["lpips_alex"]["assets"] == ["alexnet"]


def test_protocols() -> None:
    text = invoke("protocols").stdout
    assert all(name in text for name in PROTOCOLS.all())
    listed = json.loads(invoke("protocols", "--json").stdout)["protocols"]
    assert [one["id"] for one in listed] == list(PROTOCOLS.all())
    assert listed[0]["sha256"] == PROTOCOLS.all()["default-v1"].sha256


def test_what_cannot_be_listed_is_refused() -> None:
    result = CliRunner().invoke(command, ["tokenisers"])
    assert result.exit_code == 2
    assert "tokenizers" in result.stderr


def test_the_page_of_the_zoo_is_what_the_manifests_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "zoo.md"
    result = CliRunner().invoke(command, ["zoo"])
    assert result.exit_code == 0
    table = result.output.strip()
    assert table in page.read_text(encoding="utf-8"), "put the table of `list zoo` into docs/zoo.md"
    for info in TOKENIZERS.all().values():
        if info.published:
            assert f"`{info.id}`" in table
            assert info.latent is not None


def test_every_fact_of_a_published_model_is_confirmed_or_marked() -> None:
    lines = CliRunner().invoke(command, ["zoo"]).output.splitlines()[2:]
    rows = {line.split("`")[1]: line.split(" | ")[-2:] for line in lines}
    for name, info in TOKENIZERS.all().items():
        if known := info.published:
            assert sorted((*known.confirmed, *known.unconfirmed)) == sorted(FACTS), name
            assert known.seen, name
            confirmed, unconfirmed = rows[name]
            assert all(f"[{fact}]({url})" in confirmed for fact, url in known.confirmed.items())
            assert unconfirmed.rstrip(" |") == (", ".join(known.unconfirmed) or "nothing")
    assert set(rows) == {name for name, info in TOKENIZERS.all().items() if info.published}


def test_every_published_model_states_its_licence_and_latent_as_json() -> None:
    result = CliRunner().invoke(command, ["zoo", "--json"])
    models = json.loads(result.output)["zoo"]
    assert {"sd-vae-ft-mse", "taef2", "ssdd-official"} <= {model["id"] for model in models}
    assert all(model["licence"] and model["latent"] for model in models)


def test_a_model_shows_only_the_options_of_its_own() -> None:
    lines = CliRunner().invoke(command, ["tokenizers"]).output.splitlines()
    (row,) = (line for line in lines if line.startswith("sdxl-vae"))
    assert "as diffusers" in row
    start = next(i for i, line in enumerate(lines) if line.startswith("consistency-decoder"))
    assert any("steps=2" in line for line in lines[start : start + 3])
