"""docs/how-to/generation.md: its commands run, on a few small images, and both ways agree."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ssdd_bench.cli.main import cli
from ssdd_bench.results.store import load_results
from ssdd_bench.train.recipe import RECIPES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "how-to" / "generation.md").read_text(
    encoding="utf-8"
)


def commands(section):
    """Lines of the shell blocks below a heading."""
    text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    joined = (block.replace("\\\n", " ") for block in blocks)
    return [line for block in joined for line in block.strip().splitlines()]


def run(line):
    program, *arguments = shlex.split(line)
    assert program == "ssdd-bench"
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def small(tiny_size, tmp_path, monkeypatch):
    """Folders TRAIN and TEST of two classes, and numbers that take seconds."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder, count in (("TRAIN", 8), ("TEST", 5)):
        for name in ("cat", "dog"):
            (tmp_path / folder / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
                image.resize((64, 64)).save(tmp_path / folder / name / f"{i}.png")
    recipe = (RECIPES / "dit" / "nano.toml").read_text()
    for old, new in (('"nano"', '"tiny"'), ("= 64", "= 4"), ("= 20000", "= 3")):
        assert old in recipe
        recipe = recipe.replace(old, new)
    (tmp_path / "small.toml").write_text(recipe)

    def shorten(line):
        for old, new in (
            ("--recipe nano", "--recipe small.toml"),
            ("--samples 5000", "--samples 8"),
            ("--steps 50", "--steps 2"),
            ("--seed 0,1,2", "--seed 0"),
        ):
            line = line.replace(old, new)
        return line

    return shorten


@pytest.mark.slow
def test_four_commands_and_the_one_that_does_all_give_the_same_row(small, tmp_path):
    *four, one = map(small, commands("Four commands"))
    assert [line.split()[2] for line in four] == ["encode", "train", "sample", "score"]
    for line in four:
        done = run(line)
    assert "fd_effnet" in done.stdout
    (row,) = load_results([tmp_path / "gen" / "results"])
    assert row.metrics["fd_effnet"].value > 0
    assert row.metrics["fd_effnet_intra"].n == 8
    run(one)
    rows = load_results([tmp_path / "gen-all" / "results"])
    assert sorted(row.generation.guidance_scale for row in rows) == [1, 1.5]
    same = next(one for one in rows if one.generation.guidance_scale == 1)
    assert same.metrics == row.metrics
    assert same.tokenizer == row.tokenizer
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    run(one)  # nothing is done twice
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == kept
    (other,) = map(small, commands("One DiT, several decoders"))
    run(other.replace("gen-all", "gen"))
    rows = load_results([tmp_path / "gen-again" / "results"])
    assert {(row.tokenizer.id, row.steps) for row in rows} == {("ssdd", 1), ("diffusion", 4)}
    assert next(one for one in rows if one.steps == 1).metrics == row.metrics


def test_a_dit_is_trained_or_given(small):
    for wrong in ("--data TRAIN --dit gen/dit --res 64", "--data TRAIN"):
        line = f"gen all --tokenizer ssdd --reference TEST --out x {wrong}"
        done = CliRunner().invoke(cli, line.split())
        assert done.exit_code == 2
        assert "--data needs --res, and trains a DiT: leave --dit out" in done.output
    line = "gen all --tokenizer ssdd --reference TEST --out x --iterations 9"
    done = CliRunner().invoke(cli, line.split())
    assert done.exit_code == 2
    assert "without --data nothing is trained" in done.output


def test_other_commands_are_ones_that_the_program_takes():
    """Options exist, though files and time for these are not at hand."""
    lines = [*commands("Published DiT and SiT"), *commands("Several GPUs and machines")]
    for line in (one for one in lines if one.startswith("ssdd-bench")):
        _, group, verb, *arguments = shlex.split(line)
        assert group == "gen"
        cli.get_command(None, group).get_command(None, verb).make_context(verb, arguments)


@pytest.mark.medium
def test_sampling_speed_of_small_networks():
    done = run("ssdd-bench gen speed --sizes tiny --shapes f8c4,f16c4 --steps 3 --cfg 2 --json")
    import json

    rows = json.loads(done.stdout)["rows"]
    assert [row["tokens"] for row in rows] == [256, 64]
    assert rows[0]["gmac"] > 3.9 * rows[1]["gmac"]
    assert rows[0]["evaluations"] == 6
