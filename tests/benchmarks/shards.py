"""Cost of opening many shards, and growth of memory and open files with their images.

    python tests/benchmarks/shards.py [--shards 1000] [--images 100]

Writes shards of tiny JPEGs and labels into a temporary folder, and prints a Markdown table. Each
row is a process of its own. "read" passes all images of some shards through the loader.
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


def measure(what: str, pattern: str) -> None:
    """Print a row of the table."""
    started = time.perf_counter()
    source = open_images(pattern)
    files = 0
    if what == "read":
        for _ in ImageLoader(source, 32, "adm", 50, threads=4):
            files = max(files, len(list(Path("/proc/self/fd").iterdir())))
    seconds = time.perf_counter() - started
    # Of getrusage's maximum a part is the parent's, whose memory a process has until it begins.
    status = Path("/proc/self/status").read_text()
    memory = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    cells = [what, pattern.rpartition(".")[2], f"{len(source):,}", f"{seconds:.2f}"]
    click.echo(f"| {' | '.join(cells)} | {memory:.0f} | {files or ''} |")


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
    click.echo("| | kind | images | seconds | peak MB | open files |")
    click.echo("| --- | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary, "shards"), Path(temporary, "cache")
        folder.mkdir()
        write(folder, options.shards, options.images)
        for kind in ("tar", "parquet"):
            for what, last in (
                ("open, no index", options.shards),
                ("open, index", options.shards),
                ("read", 2),
                ("read", min(200, options.shards)),
            ):
                pattern = f"{folder}/{{00000..{last - 1:05d}}}.{kind}"
                command = [sys.executable, __file__, "--measure", what, pattern]
                subprocess.run(
                    command, env={**os.environ, "XDG_CACHE_HOME": str(cache)}, check=True
                )


if __name__ == "__main__":
    main()
