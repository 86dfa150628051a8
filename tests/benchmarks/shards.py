"""Cost of opening many files, and growth of memory and open files with their images.

    python tests/benchmarks/shards.py [--shards 1000] [--images 100]

Writes shards of tiny JPEGs and labels, and as many empty files, into a temporary folder, and prints
a Markdown table. Each row is a process of its own. "read" passes all images of some shards through
the loader. "an id" is what opening adds to the memory of the process at its peak.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader


def write(folder: Path, shards: int, images: int) -> None:
    """Write so many tar and Parquet files of so many images each."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    data = buffer.getvalue()
    rows = pa.table({"image": [{"bytes": data, "path": "x.jpg"}] * images})
    for shard in range(shards):
        pq.write_table(rows, folder / f"{shard:05d}.parquet", row_group_size=25)
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number in range(shard * images, (shard + 1) * images):
                for suffix, content in (("jpg", data), ("cls", b"7")):
                    info = tarfile.TarInfo(f"{number:09d}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        (folder / "files" / f"{shard:05d}").mkdir(parents=True)
        for number in range(images):
            (folder / "files" / f"{shard:05d}" / f"{number:09d}.jpg").touch()


def measure(what: str, pattern: str) -> None:
    """Print a row of the table."""
    before = resident("VmRSS")
    started, busy = time.perf_counter(), time.process_time()
    source = open_images(pattern)
    grown = resident("VmHWM") - before
    files = 0
    if what == "read":
        for _ in ImageLoader(source, 32, "adm", 50, threads=4):
            files = max(files, len(list(Path("/proc/self/fd").iterdir())))
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    kind = Path(pattern).suffix[1:] or "folder"
    cells = [what, kind, f"{len(source):,}", f"{seconds:.2f}", f"{busy:.2f}"]
    cells.append(f"{resident('VmHWM') / 1024:.0f}")
    click.echo(f"| {' | '.join(cells)} | {1024 * grown / len(source):.0f} B | {files or ''} |")


def resident(name: str) -> int:
    """Return the memory of this process in kB.

    Of getrusage's maximum a part is the parent's, whose memory a process has until it begins.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--measure", nargs=2)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    click.echo("| | kind | images | seconds | of a core | peak MB | an id | open files |")
    click.echo("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary, "shards"), Path(temporary, "cache")
        folder.mkdir()
        write(folder, options.shards, options.images)

        def print_row(what: str, pattern: str) -> None:
            command = [sys.executable, __file__, "--measure", what, pattern]
            subprocess.run(command, env={**os.environ, "XDG_CACHE_HOME": str(cache)}, check=True)

        print_row("open", f"{folder}/files")
        for kind in ("tar", "parquet"):
            for what, last in (
                ("open, no index", options.shards),
                ("open, index", options.shards),
                ("read", 2),
                ("read", min(200, options.shards)),
            ):
                print_row(what, f"{folder}/{{00000..{last - 1:05d}}}.{kind}")


if __name__ == "__main__":
    main()
