"""Programs that stand for a share and for the merge, for what is about launchers alone."""

import sys
import time
from pathlib import Path

# Writes a file per step, so that a second start skips those that are there, and counts starts.
SHARE = """
import pathlib, sys, time
folder, steps, pause = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
share = sys.argv[-1].replace("/", "-of-")
with open(folder / f"starts-{share}", "a") as file:
    file.write("start ")
for step in range(steps):
    path = folder / f"{share}.{step}"
    if not path.exists():
        time.sleep(pause)
        path.write_text(share)
"""
MERGE = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "merged").write_text(" ".join(sorted(path.name for path in folder.glob("*-of-*.*"))))
"""


def wait_for(find, seconds=90.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := find():
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def make_submission(folder: Path, shares=2, steps=2, pause=0.0, **more):
    """A submission of these programs; each step takes a pause."""
    from ssdd_bench.launch.slurm import Submission

    (folder / "work").mkdir()
    python, work = (sys.executable, "-c"), str(folder / "work")
    command = (*python, SHARE, work, str(steps), str(pause))
    return Submission(command, (*python, MERGE, work), folder / "logs", shares, **more)
