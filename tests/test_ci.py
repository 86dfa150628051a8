"""The script of CI: what it provides so that no test skips that need not, without installing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

GATE = Path(__file__).parents[1] / ".github" / "workflows" / "gate.yml"
SCRIPT = Path(__file__).parents[1] / ".ci" / "run"
TOOLS = ("bash", "dirname", "mktemp", "rm", "mkdir", "tail")
STUBS = {
    "id": "echo $USER_ID",
    "timeout": 'shift; exec "$@"',
    "apt-get": 'echo "apt-get $*" >> $LOG; exit $APT',
    "python3.11": "mkdir -p $3/bin; : > $3/bin/activate",
    "python": "exit 0",
    "make": 'echo "make $* TAEF2=$SSDD_BENCH_TAEF2" >> $LOG',
}


@pytest.fixture
def ci(tmp_path):
    """Run a copy of the script among programs that only write down how they were called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in TOOLS:
        (programs / name).symlink_to(shutil.which(name))
    for name, body in STUBS.items():
        (programs / name).write_text(f"#!{programs}/bash\n{body}\n")
        (programs / name).chmod(0o755)
    script = tmp_path / "checkout" / ".ci" / "run"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)

    def run(user=0, apt=0, **environment):
        log = tmp_path / "log"
        log.write_text("")
        known = {"PATH": str(programs), "LOG": str(log), "USER_ID": str(user), "APT": str(apt)}
        subprocess.run([script], env=known | environment, check=True, capture_output=True)
        return log.read_text().splitlines()

    return run


def test_programs_that_tests_need_are_installed(ci):
    installed = " ".join(line for line in ci() if line.startswith("apt-get install"))
    for package in ("chromium-driver", "texlive-latex-base", "texlive-latex-recommended"):
        assert package in installed.split()


@pytest.mark.parametrize(("user", "apt"), [(1000, 0), (0, 100)])
def test_tests_run_where_nothing_can_be_installed(ci, user, apt):
    lines = ci(user=user, apt=apt)
    assert lines[-1] == "make check TAEF2="
    assert any(line.startswith("apt-get") for line in lines) == (user == 0)


def test_what_is_there_is_not_installed(ci, tmp_path):
    for name in ("chromedriver", "pdflatex"):
        (tmp_path / "bin" / name).symlink_to(shutil.which("true"))
    assert ci() == ["make check TAEF2="]


def test_weights_beside_the_checkout_are_used(ci, tmp_path):
    folder = tmp_path / "shared" / "weights" / "taef2"
    folder.mkdir(parents=True)
    assert ci()[-1] == f"make check TAEF2={folder}"
    assert ci(SSDD_BENCH_TAEF2="/other")[-1] == "make check TAEF2=/other"


def gate_step(name):
    steps = yaml.safe_load(GATE.read_text())["jobs"]["gate"]["steps"]
    (found,) = (one for one in steps if one.get("name") == name)
    return ["bash", "-e", "-o", "pipefail", "-c", found["run"]]


@pytest.mark.parametrize("step", ["measure", "compare", "speed"])
@pytest.mark.parametrize(
    ("options", "words"),
    [("", []), ('--fail "decode_ips:-40%" --data "my photos"', ["decode_ips:-40%", "my photos"])],
)
def test_options_of_the_gate_are_read_as_a_shell_reads_them(tmp_path, step, options, words):
    """Quotes, as the page of the gate writes them, are no part of the words."""
    program = tmp_path / "ssdd-bench"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 2\n')
    program.chmod(0o755)
    environment = dict.fromkeys(("TOKENIZERS", "RES", "BASELINE", "AGAINST"), "x")
    environment |= {"OPTIONS": options, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        gate_step(step), env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2  # that of the gate
    arguments = done.stdout.splitlines()
    assert [one for one in arguments if one in words] == words
    assert "" not in arguments


@pytest.mark.parametrize(
    ("found", "written"),
    [
        ("", "api --silent issues/7/comments -F body=@comment.md"),
        ("12", "api --silent -X PATCH issues/comments/12 -F body=@comment.md"),
    ],
)
def test_the_comment_of_the_gate_replaces_its_own_only(tmp_path, found, written):
    """The program of GitHub is one that writes down its calls, and finds a comment or none."""
    program = tmp_path / "gh"
    program.write_text(f'#!/bin/sh\necho "$@" >> calls\n[ "$2" = --paginate ] && echo {found}\n:\n')
    program.chmod(0o755)
    (tmp_path / "gate.md").write_text("the verdict\n")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ISSUES": "issues", "NUMBER": "7"}
    environment["MARK"] = "<!-- ours -->"
    subprocess.run(gate_step("comment"), env=environment, cwd=tmp_path, check=True)
    asked, last = (tmp_path / "calls").read_text().splitlines()
    assert asked.startswith("api --paginate issues/7/comments")
    assert "startswith(env.MARK)" in asked
    assert last == written
    assert (tmp_path / "comment.md").read_text() == "<!-- ours -->\nthe verdict\n"
