"""Completions that the shell offers after TAB."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import CompletionItem, ShellComplete

from ssdd_bench.cli.main import cli
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.plugins.registry import TOKENIZERS


def items(line: str) -> list[CompletionItem]:
    """Offers for the last word of a line, which may be empty."""
    *words, incomplete = line.split(" ")
    shell = ShellComplete(cli, {}, "ssdd-bench", "_SSDD_BENCH_COMPLETE")
    return shell.get_completions(words, incomplete)


def values(line: str) -> list[str]:
    return [item.value for item in items(line)]


def test_verbs() -> None:
    assert values("che") == ["check-tokenizer"]
    assert values("list me") == ["metrics"]


def test_tokenizers_one_after_another() -> None:
    assert values("run --tokenizers ") == list(TOKENIZERS.all())
    assert values("run --tokenizers ssdd-o") == ["ssdd-official"]
    assert values("run --tokenizers jpeg,web") == ["jpeg,webp"]
    assert values("run --tokenizers jpeg:quality=10,50,web") == ["jpeg:quality=10,50,webp"]
    assert "webp,webp" not in values("run --tokenizers webp,")
    assert values("gen sample --tokenizer kl") == ["klvae"]
    assert values("check-tokenizer kl") == ["klvae"]


def test_options_of_a_tokenizer() -> None:
    (item,) = items("run --tokenizers webp,jpeg:qu")
    assert item.value == "webp,jpeg:quality="
    assert item.help
    assert values("run --tokenizers nothing:q") == []


def test_metrics_and_protocols() -> None:
    pairs, samples = find_metrics("pairs"), find_metrics("samples")
    assert values("run --metrics psnr,") == [f"psnr,{key}" for key in pairs if key != "psnr"]
    assert values("gen all --metrics fd_effnet_") == ["fd_effnet_intra"]
    assert set(values("score --metrics ")) == pairs.keys()
    assert set(values("gen score --metrics ")) == samples.keys()
    assert values("run --protocol default-v1,ssdd") == ["default-v1,ssdd-paper-v1"]
    assert values("protocol show ad") == ["adm-v1"]
    assert values("weights fetch alex") == ["alexnet"]


def test_files_and_what_has_a_name() -> None:
    assert values("run --suite qu") == ["quick"]
    assert values("run --data kod") == ["kodak"]
    for line in ("run --data ./ko", "run --out x", "report x", "compare x", "score x"):
        assert [item.type for item in items(line)] == ["file"], line


@pytest.mark.medium
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_what_it_sources(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ssdd_bench"],
        env=os.environ | {"_SSDD_BENCH_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
    )
    if shell == "bash" and "Couldn't detect Bash" in done.stderr:
        pytest.skip("no bash")
    assert done.returncode == 0, done.stderr
    assert "_SSDD_BENCH_COMPLETE" in done.stdout


@pytest.mark.medium
def test_completion_is_quick() -> None:
    code = (
        "import sys\n"
        "from click.shell_completion import ShellComplete\n"
        "from ssdd_bench.cli.main import cli\n"
        "shell = ShellComplete(cli, {}, 'ssdd-bench', 'X')\n"
        "for line in (['--tokenizers'], ['--metrics'], ['--protocol'], ['--data']):\n"
        "    assert shell.get_completions(['run', *line], '')\n"
        "for verb in (['list'], ['score', '--metrics'], ['weights', 'fetch']):\n"
        "    assert shell.get_completions(verb, '')\n"
        "assert not {'torch', 'numpy', 'rich', 'pandas'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
