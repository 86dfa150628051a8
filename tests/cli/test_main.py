"""The entry point: every mistake of a user is one line on standard error, and exit code 2."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ssdd_bench.cli import main as module
from ssdd_bench.errors import UserError

Program = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("line", "token"),
    [
        ("rum", "rum"),
        ("gen sampel", "sampel"),
        ("list tokenisers", "tokenisers"),
        ("check-tokenizer jpg", "jpg"),
        ("check-tokenizer jpeg --res 0", "--res"),
        ("compare absent-base absent-head", "absent-base"),
        ("noise absent-results", "absent-results"),
        ("report absent-results", "absent-results"),
        ("protocol show default-v9", "default-v9"),
        ("protocol diff default-v1 default-v9", "default-v9"),
        ("score absent-a absent-b", "absent-a"),
        ("score absent-a absent-b --intervals --ci", "--ci"),
        ("train ssdd --recipe absent-recipe --plan", "absent-recipe"),
        ("train ssdd", "--data"),
        ("run", "See: ssdd-bench run --help"),
        ("gen sample", "See: ssdd-bench gen sample --help"),
        ("run --tokenizers jpeg --seed 0,x", "'x'"),
        pytest.param(
            *("gen sample --tokenizer jpeg,webp --out x", "jpeg,webp"), marks=pytest.mark.medium
        ),
        ("gen encode --tokenizer jpeg --data absent-images --res 8 --out x", "absent-images"),
        ("gen encode --tokenizer jpeg --data x --res 8 --out x --shard 2/2", "2/2"),
        ("gen all --tokenizer ssdd --reference x --out x --seed 0,-1", "-1"),
        ("gen all --tokenizer ssdd --reference x --out x --cfg-interval 0", "--cfg-interval"),
        ("gen train --latents absent-latents --out x", "absent-latents"),
        ("gen score absent-a absent-b --metrics gfidd", "absent-"),
        ("gen speed --shapes f8 --sizes S", "f8"),
        ("gen correlate absent-results", "absent-results"),
        ("weights fetch alexnett", "alexnett"),
        ("new-tokenizer Bad_Name", "Bad_Name"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    line: str, token: str, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, error = program(*line.split())
    assert code == 2, error
    assert out == ""
    assert "Traceback" not in error
    (told,) = (one for one in error.splitlines() if one.startswith("error: "))
    assert token in told


@pytest.mark.parametrize(
    "line",
    [
        "--debug protocol show default-v9",
        "protocol --debug show default-v9",
        "protocol show default-v9 --debug",
    ],
)
def test_debug_shows_where_an_error_comes_from(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ssdd-bench", *line.split()])
    with pytest.raises(UserError, match="default-v9"):
        module.main()
