"""Fuzz a reader, guided by the coverage of our code: ``make fuzz READER=tar SECONDS=60``.

An input that ends in anything but a result or a :class:`ssdd_bench.errors.UserError` stops it; the
file ``crash-*`` in the folder of the corpus holds it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np
from encoded_images import photo, png, write_parquet, write_tar

with atheris.instrument_imports(include=["ssdd_bench", "tarfile", "zipfile", "tomllib"]):
    from ssdd_bench.data.images import open_images
    from ssdd_bench.data.npz import read_labels, read_moments
    from ssdd_bench.errors import UserError
    from ssdd_bench.plugins.discovery import Place
    from ssdd_bench.plugins.manifest import load_manifest
    from ssdd_bench.results.store import load_results
    from ssdd_bench.weights.files import load_tensors

ROOT = Path(__file__).parents[2]


def read_images(file: Path) -> None:
    source = open_images(file)
    for one in source.ids:
        source.read_named(one)


def read_npz(file: Path) -> None:
    for read in (read_images, read_labels, read_moments):
        try:
            read(file)
        except UserError:
            continue


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "image": ("a.png", lambda file: read_images(file.parent)),
    "tar": ("a.tar", read_images),
    "parquet": ("a.parquet", read_images),
    "npz": ("a.npz", read_npz),
    "result": ("a.json", lambda file: load_results([file])),
    "manifest": ("tokenizer.toml", lambda file: load_manifest(Place("x", "x", file, "x"))),
    "weights": ("a.safetensors", load_tensors),
}


def write_seed(reader: str, file: Path) -> None:
    """Write one good file, from which the fuzzing starts."""
    match reader:
        case "image":
            file.write_bytes(png(photo(0)))
        case "tar":
            write_tar(file, {f"{i}.png": png(photo(i)) for i in range(2)})
        case "parquet":
            write_parquet(file, [{"bytes": png(photo(i)), "path": f"{i}.png"} for i in range(2)])
        case "npz":
            np.savez(file, arr_0=np.zeros((2, 4, 4, 3), np.uint8), arr_1=np.arange(2))
        case "result":
            good = json.loads((ROOT / "tests" / "fixtures" / "result.json").read_text())
            file.write_text(json.dumps(good))
        case "manifest":
            file.write_bytes((ROOT / "tokenizers" / "jpeg" / "tokenizer.toml").read_bytes())
        case "weights":
            from safetensors.numpy import save_file

            save_file({"encoder.x": np.zeros((2, 2), np.float32)}, file)


def main(reader: str, seconds: str, corpus: Path) -> None:
    """Fuzz one reader for some seconds, beginning with what the corpus holds."""
    name, read = READERS[reader]
    seeds, place = corpus / reader, corpus / "input"
    for folder in (seeds, place):
        folder.mkdir(parents=True, exist_ok=True)
    write_seed(reader, seeds / f"seed-{name}")

    def once(data: bytes) -> None:
        file = place / name
        file.write_bytes(data)
        try:
            read(file)
        except UserError:
            return

    options = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096"]
    options.append(f"-artifact_prefix={corpus}/")
    atheris.Setup([sys.argv[0], *options, str(seeds)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
