"""Lists of options of every command: a result, or one line and an exit code that is not 0."""

import os
from pathlib import Path
from typing import Any

import click
import pytest
from damage import JUNK, JUNK_TEXT, examples, to_toml
from forked import attempt
from hypothesis import given
from hypothesis import strategies as st

from ssdd_bench.cli.main import cli
from ssdd_bench.errors import UserError

pytestmark = pytest.mark.slow
# These start programs, ask servers, or work for long on good options.
LEFT_OUT = {"fetch", "speed"}
WORDS = (
    st.sampled_from(
        [
            "0",
            "-1",
            "1.5",
            "nan",
            "1e999",
            "9" * 30,
            "256,",
            ",",
            "x",
            "klvae",
            "ssdd:steps=0",
            "jpeg:",
        ]
    )
    | st.builds(str, st.integers())
    | JUNK_TEXT.filter(lambda text: "\0" not in text)
)


def commands(group: click.Command, above: tuple[str, ...] = ()) -> Any:
    """Yield the words and the command of each verb."""
    if isinstance(group, click.Group):
        for name, one in group.commands.items():
            yield from commands(one, (*above, name))
    elif not LEFT_OUT & set(above):
        yield above, group


COMMANDS = dict(commands(cli))


def call(folder: str, words: list[str]) -> None:
    """Run a command in an empty folder, offline, and raise what it ends in."""
    os.chdir(folder)
    os.environ |= {"HF_HUB_OFFLINE": "1", "SSDD_BENCH_OFFLINE": "1"}
    try:
        cli.main(words, prog_name="ssdd-bench", standalone_mode=False)
    except click.ClickException as error:
        raise UserError(error.format_message()) from None
    except SystemExit as error:
        if not isinstance(error.code, int | None):
            raise


@st.composite
def option_lists(draw: st.DrawFn, command: click.Command) -> list[str]:
    """Give a command some of its options with odd values, and odd arguments."""
    words: list[str] = []
    options = [one for one in command.params if isinstance(one, click.Option)]
    for one in draw(st.lists(st.sampled_from(options), max_size=4)):
        words.append(draw(st.sampled_from([*one.opts, *one.secondary_opts])))
        if not one.is_flag:
            words.append(draw(WORDS))
    for one in command.params:
        if isinstance(one, click.Argument):
            words += draw(st.lists(WORDS, min_size=int(one.nargs > 0), max_size=2))
    return words


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
@examples(30)
@given(data=st.data())
def test_options(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[str, ...], data: Any
) -> None:
    words = [*path, *data.draw(option_lists(COMMANDS[path]))]
    folder = tmp_path_factory.getbasetemp() / "options"
    folder.mkdir(exist_ok=True)
    ending = attempt(call, str(folder), words)
    assert ending.is_good, (words, ending)


RUN = {"tokenizers": "identity", "res": [16], "limit": 1, "metrics": "psnr", "speed": False}


@examples(100)
@given(data=st.data())
def test_files_of_options(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """A file of options for ``run --dry-run``, with odd values."""
    file: Path = tmp_path_factory.getbasetemp() / "options.toml"
    key = data.draw(st.sampled_from(sorted(RUN)))
    file.write_text(to_toml(RUN | {key: data.draw(JUNK)}))
    ending = attempt(call, str(file.parent), ["run", "--config", str(file), "--dry-run"])
    assert ending.is_good, ending
