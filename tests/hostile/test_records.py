"""Damaged and altered result files, manifests, recipes, protocols, settings and tags."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from damage import altered, damaged, examples, to_toml
from forked import attempt
from hypothesis import given
from hypothesis import strategies as st

import ssdd_bench
from ssdd_bench.gate.thresholds import load_learnt, project_rules
from ssdd_bench.plugins.discovery import Place
from ssdd_bench.plugins.manifest import load_manifest
from ssdd_bench.protocols.registry import find_protocol
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.published import load_published, published_table
from ssdd_bench.report.tables.build import build_tables
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.report.tags import read_tags
from ssdd_bench.results.store import load_results
from ssdd_bench.train.recipe import DiTRecipe, Recipe, load_recipe

pytestmark = pytest.mark.slow
PACKAGE = Path(ssdd_bench.__file__).parent
RESULT = Path(__file__).parents[1] / "fixtures" / "result.json"

GOOD_RESULT = json.loads(RESULT.read_text())


def show(file: Path) -> None:
    """Load a result and make tables of it."""
    assert to_markdown(build_tables(to_frame(load_results([file]))))


@examples(200)
@given(altered(GOOD_RESULT))
def test_altered_results(tmp_path_factory: pytest.TempPathFactory, data: object) -> None:
    file = tmp_path_factory.getbasetemp() / "altered.json"
    file.write_text(json.dumps(data))
    ending = attempt(show, file)
    assert ending.is_good, ending


@examples(60)
@given(damaged(RESULT.read_bytes()))
def test_damaged_results(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.json"
    file.write_bytes(data)
    ending = attempt(show, file)
    assert ending.is_good, ending


def read_manifest(file: Path) -> None:
    for info in load_manifest(Place("x", "test", file, "x")):
        info.resolve_options({})


def read_published(file: Path) -> None:
    for name, one in load_published(file.parent).items():
        published_table(name, one)


def read_gate(file: Path) -> None:
    project_rules(file.parent)


def read_recipe(file: Path) -> None:
    """Plan a training, as ``train --plan`` does before anything is loaded."""
    load_recipe(str(file), Recipe)


TRAIN = PACKAGE / "train" / "recipes"
GATE = {"tool": {"ssdd-bench": {"gate": {"fail": ["psnr:-0.1", "rfid:+2%"]}}}}
MANIFESTS = sorted(MANIFEST for MANIFEST in (PACKAGE.parent / "tokenizers").glob("*/*.toml"))
PROTOCOLS = sorted((PACKAGE / "protocols").glob("*.toml"))
SINGLE = {
    "recipe.toml": (read_recipe, tomllib.loads((TRAIN / "mini-f8c4.toml").read_text())),
    "dit.toml": (
        lambda file: load_recipe(str(file), DiTRecipe),
        tomllib.loads((TRAIN / "dit" / "nano.toml").read_text()),
    ),
    "tags.toml": (read_tags, {"a.jpg": ["day", "people"], "b.jpg": []}),
    "pyproject.toml": (read_gate, GATE),
    "noise.toml": (load_learnt, {"noise": {"psnr": 0.1}, "deviation": {"psnr": 0.02, "rfid": 2}}),
    "block-v1.toml": (
        lambda file: find_protocol(str(file)),
        tomllib.loads(PROTOCOLS[0].read_text()),
    ),
    "based-v1.toml": (
        lambda file: find_protocol(str(file)),
        {"base": "default-v1", "description": "x", "metrics": ["psnr"]},
    ),
    "tokenizer.toml": (read_manifest, tomllib.loads(MANIFESTS[0].read_text())),
}


@pytest.mark.parametrize("name", SINGLE)
@examples(60)
@given(data=st.data())
def test_altered_settings(tmp_path_factory: pytest.TempPathFactory, name: str, data: Any) -> None:
    read, good = SINGLE[name]
    folder = tmp_path_factory.getbasetemp() / "settings"
    folder.mkdir(exist_ok=True)
    changed = data.draw(altered(good))
    file = folder / name
    file.write_text(to_toml(changed if isinstance(changed, dict) else {"x": changed}))
    ending = attempt(read, file)
    assert ending.is_good, ending


@pytest.mark.parametrize("file", [*MANIFESTS, *PROTOCOLS], ids=lambda file: file.as_posix()[-30:])
@examples(12)
@given(data=st.data())
def test_damaged_settings(tmp_path_factory: pytest.TempPathFactory, file: Path, data: Any) -> None:
    copy = tmp_path_factory.getbasetemp() / "damaged" / f"a-{file.stem}.toml"
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(data.draw(damaged(file.read_bytes())))
    read = read_manifest if file in MANIFESTS else lambda path: find_protocol(str(path))
    ending = attempt(read, copy)
    assert ending.is_good, ending


@examples(60)
@given(data=st.data())
def test_published_numbers(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "published" / "a.json"
    file.parent.mkdir(exist_ok=True)
    good = json.loads((PACKAGE.parent / "results/published/ssdd-paper-figure.json").read_text())
    good["rows"] = good["rows"][:2]
    file.write_text(json.dumps(data.draw(altered(good))))
    ending = attempt(read_published, file)
    assert ending.is_good, ending


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "1e999", '"\\ud800"']
)
def test_extreme_json(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    ending = attempt(show, file)
    assert ending.kind == "refused"
    assert ending.is_good, ending


@pytest.mark.parametrize(
    "value", ["[" * 5000 + "]" * 5000, "1" * 5000, "inf", "nan", "{a={a={a=1}}}"]
)
def test_extreme_toml(tmp_path: Path, value: str) -> None:
    file = tmp_path / "tokenizer.toml"
    file.write_text(f"id = {value}")
    ending = attempt(read_manifest, file)
    assert ending.kind == "refused"
    assert ending.is_good, ending
