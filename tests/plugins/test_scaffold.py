"""The plugin that `ssdd-bench new-tokenizer` writes is a sound one, as it is."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.cli.new_tokenizer import command
from ssdd_bench.errors import OptionError, OutputError
from ssdd_bench.evaluation.conformance import check_tokenizer, make_images
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.registry import load_tokenizer
from ssdd_bench.plugins.scaffold.write import write_tokenizer


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = write_tokenizer("my-new-vae", tmp_path)
    monkeypatch.setenv(VARIABLE, str(root))
    return root


@pytest.mark.medium
def test_it_keeps_the_contract(written: Path) -> None:
    assert check_tokenizer("my-new-vae") == []
    assert check_tokenizer("my-new-vae:channels=3", resolution=72) == []


@pytest.mark.medium
def test_more_channels_keep_more(written: Path) -> None:
    images = make_images(64)[1:2]  # noise
    noise = KeyedNoise(0, ["a"], "decode")
    errors = []
    for channels in (3, 12, 27, 48):
        tokenizer = load_tokenizer("my-new-vae", channels=channels)
        decoded = tokenizer.decode(tokenizer.encode(images), noise)
        errors.append((decoded - images).abs().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]
    flat = images * 0 + 0.25
    assert (tokenizer.decode(tokenizer.encode(flat), noise) - flat).abs().max() < 1e-6


def test_names_agree_everywhere(written: Path) -> None:
    project = tomllib.loads((written / "pyproject.toml").read_text())["project"]
    assert project["name"] == "ssdd-bench-my-new-vae"
    assert project["entry-points"]["ssdd_bench.tokenizers"] == {"my-new-vae": "my_new_vae"}
    texts = [path.read_text() for path in written.rglob("*") if path.is_file()]
    assert len(texts) == 6
    assert not [text for text in texts if "{{" in text or not text.endswith("\n")]
    assert not [text for text in texts if "pypi.org" in text]  # the package is on no index


@pytest.mark.parametrize(
    "arguments", [["check", "--select", "E,F,I,UP,B,SIM"], ["format", "--check"]]
)
def test_its_style_is_clean(written: Path, arguments: list[str]) -> None:
    # A folder elsewhere has no settings of ours, and neither have those who get it.
    ruff = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--line-length", "100"]
    done = subprocess.run([*ruff, "."], cwd=written)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("jpeg", "there is a tokenizer 'jpeg' already"),
        ("numpy", "the installed package 'numpy' would be hidden"),
        ("json", "the installed package 'json' would be hidden"),
        ("MyVAE", "'MyVAE' is not a valid name"),
        ("class", "'class' is not a valid name"),
        ("../up", "'../up' is not a valid name"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        write_tokenizer(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "my-new-vae").mkdir()
    with pytest.raises(OutputError, match="is there already"):
        write_tokenizer("my-new-vae", tmp_path)
    assert not list((tmp_path / "my-new-vae").iterdir())


def test_the_command_says_what_to_do_next(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["my-new-vae", "--out", str(tmp_path)])
    assert f"export {VARIABLE}={tmp_path / 'my-new-vae'}" in done.stdout
    done = CliRunner().invoke(command, ["my-newer-vae", "--out", str(tmp_path), "--json"])
    assert len(json.loads(done.stdout)["files"]) == 6


@pytest.mark.slow
def test_a_plugin_that_fails_gives_one_line_and_its_traceback_on_demand(written: Path) -> None:
    (written / "my_new_vae" / "plugin.py").write_text("def load(channels):\n    return 1 / 0\n")

    def run(*flags: str) -> str:
        arguments = ["run", "--tokenizers", "my-new-vae,jpeg", "--res", "32"]
        options = ["--limit", "1", "--no-speed", "--quiet", "--metrics", "psnr", "--out", "runs"]
        done = subprocess.run(
            [sys.executable, "-m", "ssdd_bench", *arguments, *options, *flags],
            cwd=written,
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0
        return done.stderr

    told = run()
    assert "failed: my-new-vae" in told
    assert "ZeroDivisionError: division by zero" in told
    assert "Traceback" not in told
    assert [path.name.split("_")[0] for path in (written / "runs").glob("*.json")] == ["jpeg"]
    assert "return 1 / 0" in run("--debug")
