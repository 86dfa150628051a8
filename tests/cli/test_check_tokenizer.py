"""The contract from the command line: one line for each problem."""

import pytest
from click.testing import CliRunner
from plugin_folders import write_plugin

from ssdd_bench.cli.check_tokenizer import command
from ssdd_bench.errors import UnknownNameError
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.registry import TOKENIZERS

WRONG = """
from ssdd_bench.api import Latent, LatentSpec, Tokenizer

class Wrong(Tokenizer):
    latent = LatentSpec("continuous", f=8, channels=4)

    def encode(self, images, noise=None):
        return Latent(images, (images.shape[-2], images.shape[-1]))

    def decode(self, latent, noise):
        return latent.data

def load():
    return Wrong()
"""
MANIFEST = """
id = "wrong"
title = "Wrong"
family = "control"
description = "Its latent is not what it says."
licence = "Apache-2.0"
version = "1"
stochastic = false
plugin = "plugin:load"

[latent]
kind = "continuous"
f = 8
channels = 4
"""


def test_a_tokenizer_that_keeps_it():
    done = CliRunner().invoke(command, ["jpeg:quality=50", "--res", "32"])
    assert (done.exit_code, done.output) == (0, "jpeg:quality=50 keeps the contract\n")


@pytest.fixture
def add(tmp_path, monkeypatch):
    """A function that adds a plugin, given its id and its code, where the registry looks."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))

    def write(name, code):
        write_plugin(tmp_path, name, MANIFEST.replace('"wrong"', f'"{name}"'), code)
        TOKENIZERS.clear()

    return write


def test_one_that_does_not(add):
    add("wrong", WRONG)
    done = CliRunner().invoke(command, ["wrong", "--res", "32"])
    assert done.exit_code == 1
    assert done.output.startswith("wrong: ")
    assert "shape" in done.output


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("raising", "raise ValueError('no fit')"),  # the plugin's own mistake
        ("leaving", "raise SystemExit(3)"),  # an error that the guard makes of it
        ("refusing", "raise 5"),  # an error of loading
    ],
)
def test_debug_shows_where_a_plugin_fails(name, told, add, program):
    old = "    return Wrong" if name == "refusing" else "        return Latent"
    add(name, WRONG.replace(old, old.replace("return", f"{told}  #")))
    code, out, error = program("check-tokenizer", name, "--res", "32")
    assert (code, error) == (1, "")
    assert out.startswith(f"{name}: ")
    assert "Traceback" not in out
    assert ("--debug" in out) == (name == "raising")
    debugged = program("check-tokenizer", name, "--res", "32", "--debug")
    assert debugged[:2] == (code, out)
    assert "plugin.py" in debugged[2]
    assert told in debugged[2]


def test_an_unknown_one():
    done = CliRunner().invoke(command, ["jepg"])
    assert isinstance(done.exception, UnknownNameError)
    assert done.exception.exit_code == 2
