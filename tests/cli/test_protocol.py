import json

import pytest
from click.testing import CliRunner, Result

from ssdd_bench.cli.list import command as list_command
from ssdd_bench.cli.protocol import command
from ssdd_bench.cli.run import command as run_command
from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.protocols.registry import PROTOCOLS


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def settings(text: str) -> list[str]:
    """First words of the rows below the heading; a value that went on has none."""
    rows = text.splitlines()[2:]
    return [row.split()[0] for row in rows if not row.startswith(" ")]


@pytest.mark.parametrize("name", list(PROTOCOLS.all()))
def test_show_gives_every_setting_and_the_hash(name: str) -> None:
    record = PROTOCOLS.all()[name].record()
    result = invoke("show", name)
    assert result.exit_code == 0
    former = PROTOCOLS.all()[name].superseded
    lines = [name if name != "sha256" else "sha256:" for name in record] + ["former"] * len(former)
    assert settings(result.stdout) == lines
    assert all(one.sha256 in result.stdout for one in (PROTOCOLS.all()[name], *former))
    shown = json.loads(invoke("show", name, "--json").stdout)
    assert [one["sha256"] for one in shown.pop("superseded")] == [one.sha256 for one in former]
    assert shown == json.loads(json.dumps(record))


def test_diff_gives_the_settings_that_differ_and_no_others() -> None:
    result = invoke("diff", "default-v1", "ldm-v1")
    assert settings(result.stdout) == ["metrics", "crop", "posterior"]
    listed = json.loads(invoke("diff", "default-v1", "ldm-v1", "--json").stdout)
    assert listed["protocols"] == ["default-v1", "ldm-v1"]
    assert listed["settings"].keys() == {"metrics", "crop", "posterior"}
    assert listed["settings"]["crop"] == ["adm", "bilinear"]


def test_diff_of_a_protocol_with_itself_is_empty() -> None:
    result = invoke("diff", "adm-v1", "adm-v1")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "differ in no setting" in result.stderr


@pytest.mark.parametrize("arguments", [("show", "ldm-v2"), ("diff", "default-v1", "ldm-v2")])
def test_unknown_protocol_names_the_nearest(arguments: tuple[str, ...]) -> None:
    error = invoke(*arguments).exception
    assert isinstance(error, UnknownNameError)
    assert "did you mean ldm-v1" in str(error)


def test_list_tells_what_a_protocol_scores() -> None:
    text = CliRunner().invoke(list_command, ["protocols"]).stdout
    rows = {row.split()[0]: row.split()[1] for row in text.splitlines()[2:] if row[0] != " "}
    assert rows == {name: protocol.kind for name, protocol in PROTOCOLS.all().items()}


def test_run_takes_several_and_refuses_those_of_generation() -> None:
    options = ["--tokenizers", "identity", "--res", "32", "--dry-run", "--protocol"]
    jobs = CliRunner().invoke(run_command, [*options, "default-v1,ldm-v1"]).stdout.splitlines()
    assert jobs == ["identity at 32 px, default-v1", "identity at 32 px, ldm-v1"]
    error = CliRunner().invoke(run_command, [*options, "gfid-v1"]).exception
    assert isinstance(error, UserError)
    assert "'gfid-v1'" in str(error)
    assert "\n" not in str(error)
