"""Commands in README.md, docs/ and pages of plugins: the program takes each of them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ssdd_bench.cli.main import cli

ROOT = Path(__file__).parents[2]
PATTERNS = ("*.md", "docs/**/*.md", "tokenizers/*/README.md", ".github/workflows/ci.yml")
LOGS = {"LOG.md", "CHANGELOG.md"}  # these tell of earlier times
PAGES = [
    page for pattern in PATTERNS for page in sorted(ROOT.glob(pattern)) if page.name not in LOGS
]
BLOCKS = (
    re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE),
    re.compile(r"^```\w+\n()(?:.*?)^```$", re.DOTALL | re.MULTILINE),  # of other languages
    re.compile(r"^ {4}(.*ssdd-bench .*)\n", re.MULTILINE),
    re.compile(r"^ *- run: (.*)\n", re.MULTILINE),
)
INLINE = re.compile(r"`(ssdd-bench [^`]+)`")
END = re.compile(r"[|&;<>()]+$")
PLACEHOLDERS = {"COMMAND", "..."}


def commands(text: str) -> Iterator[list[str]]:
    """Find the arguments of every use of the program, in blocks and in inline code."""
    text = text.replace("\\\n", " ")
    for block in BLOCKS:
        for found in block.findall(text):
            for line in found.splitlines():
                yield from _arguments(line)
        text = block.sub("", text)
    for found in INLINE.findall(text):
        yield from _arguments(" ".join(found.split()))


def _arguments(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words = list(lexer)
    while "ssdd-bench" in words:
        words = words[words.index("ssdd-bench") + 1 :]
        end = next((i for i, word in enumerate(words) if END.match(word)), len(words))
        if not PLACEHOLDERS & set(words[:end]):
            yield words[:end]


def leaf(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """Descend through the groups to the verb, with the arguments that are left."""
    command: click.Command = cli
    while isinstance(command, click.Group) and arguments:
        context = click.Context(command)
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None, name
        command = found
    return command, arguments


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_program_takes_every_command(page: Path) -> None:
    for arguments in commands(page.read_text(encoding="utf-8")):
        command, rest = leaf(arguments)
        if isinstance(command, click.Group) or not rest:
            continue  # a command that is named, without arguments
        if "--config" in rest:  # these files do not exist here
            at = rest.index("--config")
            rest = [*rest[:at], *rest[at + 2 :], "--tokenizers", "identity"]
        try:
            with command.make_context(arguments[0], list(rest)):
                pass
        except click.exceptions.Exit:
            pass  # --help
        except click.ClickException as error:
            raise AssertionError(f"{' '.join(arguments)}: {error.format_message()}") from error


def test_the_table_of_commands_is_complete() -> None:
    """docs/how-to/commands.md names every verb, and no verb that is gone."""

    def verbs(group: click.Group, *names: str) -> Iterator[str]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from verbs(command, *names, name)
            else:
                yield " ".join((*names, name))

    text = (ROOT / "docs" / "how-to" / "commands.md").read_text(encoding="utf-8")
    missing = [name for name in verbs(cli) if not re.search(rf"`ssdd-bench {name}\b", text)]
    assert not missing
