"""Verbs: found by their files, imported one at a time, and near misses are named."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ssdd_bench.cli.gen import command as gen
from ssdd_bench.cli.main import cli

GEN = ["all", "correlate", "encode", "sample", "score", "speed", "train"]


def test_files_are_verbs_and_packages_are_groups() -> None:
    context = click.Context(cli)
    known = cli.list_commands(context)
    assert {"run", "check-tokenizer", "gen"} < set(known)
    assert not {"main", "verbs", "options", "gen-all"} & set(known)
    assert isinstance(cli.get_command(context, "gen"), click.Group)
    assert gen.list_commands(click.Context(gen)) == GEN


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("rum", "run"),
        ("gen sampel", "sample"),
        ("protocol dif", "diff"),
        ("weights fetsh", "fetch"),
    ],
)
def test_a_misspelt_verb_names_the_nearest(line: str, near: str) -> None:
    done = CliRunner().invoke(cli, line.split())
    assert done.exit_code == 2
    assert repr(line.split()[-1]) in done.output
    assert near in done.output.splitlines()[-1]


@pytest.mark.parametrize("line", [[], ["gen"], ["gen", "all"], ["run"]])
def test_help_imports_nothing_heavy(line: list[str]) -> None:
    code = (
        "import sys\n"
        "from ssdd_bench.cli.main import cli\n"
        f"cli.main([*{line!r}, '--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'pandas', 'rich', 'scipy', 'matplotlib'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
