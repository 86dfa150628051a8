"""Shared options: their values, and one definition for all verbs."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import pytest
from cli_verbs import VERBS
from click.testing import CliRunner

from ssdd_bench.cli._values import SEED, CommaList, read_load_threads, read_shard
from ssdd_bench.cli._verbs import COUNT
from ssdd_bench.cli.main import cli

SIZES = CommaList(COUNT, "256,512")


@pytest.mark.parametrize("value", ["256,512", "256 512", " 256, 512", (256, 512)])
def test_a_list_is_a_text_or_a_sequence(value: Any) -> None:
    assert SIZES.convert(value, None, None) == (256, 512)


def test_lists_of_other_types_and_lengths() -> None:
    assert SIZES.convert("64", None, None) == (64,)
    assert CommaList(SEED, "0,1").convert("0", None, None) == (0,)
    assert CommaList(float, "0,0.9", length=2).convert("0,0.9", None, None) == (0.0, 0.9)
    assert CommaList(str, "psnr", length=0).convert("", None, None) == ()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SIZES, "256,large"),
        (SIZES, "256,0"),
        (SIZES, ""),
        (CommaList(float, "0,0.9", length=2), "0.9"),
        (CommaList(float, "0,0.9", length=2), "0,0.5,0.9"),
    ],
)
def test_a_wrong_list_is_refused_with_an_example(kind: CommaList, value: str) -> None:
    with pytest.raises(click.BadParameter, match=kind.example):
        kind.convert(value, None, None)


def test_batch_sizes_are_a_list_or_auto() -> None:
    kind = next(one for one in cli.commands["run"].params if one.name == "batch_size").type
    assert kind.convert("auto", None, None) == "auto"
    assert kind.convert("1,8", None, None) == (1, 8)
    with pytest.raises(click.BadParameter, match="or auto"):
        kind.convert("big", None, None)


@pytest.mark.parametrize(
    ("option", "value", "kind"), [("batch_size", "big", "integer"), ("timeout", "ten", "number")]
)
def test_a_text_in_place_of_a_number_is_told_simply(option: str, value: str, kind: str) -> None:
    one = next(one for one in cli.commands["run"].params if one.name == option)
    with pytest.raises(click.BadParameter, match=f"'{value}' is not a valid {kind}\\."):
        one.type.convert(value, one, None)


def test_a_shard_is_an_index_below_its_count() -> None:
    assert read_shard("1/4") == (1, 4)
    assert read_shard((0, 1)) == (0, 1)
    for value in ("4/4", "-1/4", "1", "a/b", "1/2/3", "0/0"):
        with pytest.raises(click.BadParameter, match=value):
            read_shard(value)


def test_a_number_of_loading_threads() -> None:
    assert read_load_threads("auto") is None
    assert [read_load_threads(value) for value in ("0", "4", 4)] == [0, 4, 4]
    for value in ("-1", "many", "1.5"):
        with pytest.raises(click.BadParameter, match=value):
            read_load_threads(value)


def test_threads_are_set_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", counts.append)
    flags = ["run", "--tokenizers", "identity", "--dry-run"]
    for more in ([], ["--threads", "3"]):
        assert CliRunner().invoke(cli, [*flags, *more]).exit_code == 0
    assert counts == [3]


@pytest.mark.parametrize("name", VERBS)
def test_help_fits(name: str) -> None:
    result = CliRunner().invoke(cli, [*name.split(), "--help"], terminal_width=80)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    summary = VERBS[name].get_short_help_str(200)
    assert len(summary) <= 60, summary


def test_options_of_one_name_take_the_same_kind_of_value() -> None:
    """Except where one verb takes one value and another a list of them."""
    kinds = defaultdict(set)
    for command in VERBS.values():
        for option in command.params:
            if isinstance(option, click.Option):
                kind = option.type.item if isinstance(option.type, CommaList) else option.type
                kinds[option.opts[0]].add("path" if isinstance(kind, click.Path) else kind.name)
    assert not {name: found for name, found in kinds.items() if len(found) > 1}


@pytest.mark.medium
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("gen sample --tokenizer klvae,ssdd --out OUT", "names 2 tokenizers"),
        ("gen sample --tokenizer nosuch --out OUT", "unknown tokenizer 'nosuch'"),
        (
            "gen encode --tokenizer klvae:f=9 --data sample --res 64 --out OUT",
            "one of 8, 16, not 9",
        ),
        ("check-tokenizer klvae,ssdd", "names 2 tokenizers"),
    ],
)
def test_a_mistaken_name_is_told_before_torch_is_imported(
    command: str, words: str, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from ssdd_bench.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    sys.exit(99 if 'torch' in sys.modules else ended.code)\n"
    )
    arguments = command.replace("OUT", str(tmp_path / "out")).split()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "out").exists()
