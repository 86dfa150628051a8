"""The contract from the command line: one line for each problem."""

from click.testing import CliRunner

from ssdd_bench.cli.check_tokenizer import command
from ssdd_bench.errors import UnknownNameError

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


def test_one_that_does_not(tmp_path, monkeypatch):
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "tokenizer.toml").write_text(MANIFEST)
    (folder / "__init__.py").write_text('"""A plugin."""\n')
    (folder / "plugin.py").write_text(WRONG)
    monkeypatch.setenv("SSDD_BENCH_TOKENIZERS", str(tmp_path))
    done = CliRunner().invoke(command, ["wrong", "--res", "32"])
    assert done.exit_code == 1
    assert done.output.startswith("wrong: ")
    assert "shape" in done.output


def test_an_unknown_one():
    done = CliRunner().invoke(command, ["jepg"])
    assert isinstance(done.exception, UnknownNameError)
    assert done.exception.exit_code == 2
