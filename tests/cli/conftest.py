"""The program as a user calls it, without a process of its own."""

import sys
from collections.abc import Callable

import pytest
from hub_server import hub

from ssdd_bench.cli.main import main

Program = Callable[..., tuple[int, str, str]]
__all__ = ["hub", "program"]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Return the exit code, standard output and standard error of ``ssdd-bench`` with arguments."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ssdd-bench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return int(leaving.value.code or 0), captured.out, captured.err

    return call
