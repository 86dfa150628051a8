"""docs/scaling.md: its commands run as they stand there, and make the same results."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scores import measured

from ssdd_bench.results.files import LOCK_PREFIX

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.nightly
def test_commands_of_all_launchers_make_the_same_results(tmp_path: Path) -> None:
    """A codec replaces the two networks; Ray, which needs half a minute, has its own tests."""
    pytest.importorskip("submitit")
    text = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    block = BLOCK.findall(text)[0].replace("ssdd,klvae", "jpeg:quality=30")
    lines = [line for line in block.splitlines() if "ray" not in line]
    folders = {word for line in lines for word in re.findall(r"--out (\w+)", line)}
    script = ["set -e", f'ssdd-bench() {{ "{sys.executable}" -m ssdd_bench "$@"; }}', *lines]
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {"PATH": os.pathsep.join(path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert folders == {"runs", "ranks", "acc", "shares", "tasks"}
    results = [measured(tmp_path / folder) for folder in sorted(folders)]
    assert results[0]
    assert all(one == results[0] for one in results)
    for name in ("ranks", "acc", "shares"):  # two processes, not one
        assert len(list((tmp_path / name).glob(f"{LOCK_PREFIX}share-*-of-2.lock"))) == 2
