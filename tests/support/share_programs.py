"""Programs that stand for a share and for the merge, for what is about launchers alone."""

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
