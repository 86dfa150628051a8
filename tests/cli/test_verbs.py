"""Verbs: found by their files, imported one at a time, and near misses are named."""

import re
import subprocess
import sys

import click
import pytest
from cli_verbs import VERBS, commands
from click.testing import CliRunner

from ssdd_bench.cli.gen import command as gen
from ssdd_bench.cli.main import SECTIONS, cli

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


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("list tokenizer", "tokenizers"),
        ("train klva", "klvae"),
        ("run --compile of", "off"),
        ("run --track wandbb", "wandb"),
    ],
)
def test_a_misspelt_choice_names_the_nearest(line: str, near: str) -> None:
    done = CliRunner().invoke(cli, line.split())
    assert done.exit_code == 2
    assert done.output.count(f"'{near}'") == 2  # once among all of them
    far = CliRunner().invoke(cli, [*line.split()[:-1], "zzz"])
    assert far.output.count(f"'{near}'") == 1


@pytest.mark.medium
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


# What a help text may begin with: the imperative of what the command or option does.
FIRST_WORDS = re.split(
    r",\s+",
    """Add, Allow, Ask, Benchmark, Call, Check, Compare, Compile, Compute, Correlate, Crop,
    Download, Draw, Encode, Export, Fail, Fetch, Follow, Give, Guide, Keep, Learn, Leave,
    Let, List, Load, Make, Measure, Open, Pass, Print, Publish, Pull, Put, Read, Refer,
    Replay, Report, Sample, Save, Say, Score, Set, Show, Start, Stop, Take, Tell, Time,
    Train, Upload, Use, Work, Write""",
)


def texts():
    for name, command in commands():
        yield name, command.help.partition("\n\n")[0].replace("\n", " ")
        for option in command.params:
            if isinstance(option, click.Option):
                yield f"{name} {option.opts[0]}", option.help


def test_help_texts_are_imperative_sentences():
    for where, text in texts():
        sentences = re.sub(r"  \[default: .*\]$", "", text)
        assert sentences.split()[0].strip(",") in FIRST_WORDS, where
        assert sentences.endswith("."), where
        assert len(sentences) <= 100, where


def test_no_help_shows_an_empty_default():
    for name, command in commands():
        text = " ".join(command.get_help(click.Context(command)).split())
        assert '[default: ""]' not in text, name


def test_every_verb_takes_json_and_debug():
    for name, command in VERBS.items():
        taken = {text for option in command.params for text in option.opts}
        assert taken >= {"--json", "--debug"}, name


def test_every_verb_is_in_one_section_of_the_help():
    listed = [name for names in SECTIONS.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(cli.commands) <= set(listed)
    shown = CliRunner().invoke(cli, ["--help"]).output
    for heading, names in SECTIONS.items():
        below = shown.partition(f"\n{heading}:\n")[2].partition("\n\n")[0]
        expected = [name for name in names if name in cli.commands]
        assert [line.split()[0] for line in below.strip().splitlines()] == expected
