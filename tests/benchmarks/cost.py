"""Cost of scoring: one pass of ours against the usual chain of tools, on the same images.

    python tests/benchmarks/cost.py [--images 200] [--many 2000]

Weights are random, since only time and memory are measured; both sides get the same files. The
usual chain writes PNG files, then runs torch-fidelity, lpips and scikit-image, each of which reads
them again. The second of our runs stands for the next tokenizer on the same images. Prints
Markdown tables. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ssdd_bench.data.images import open_images

SIDE = 256
BATCH = 8
KEYS = ("rfid", "lpips_alex", "psnr", "ssim_skimage7")


def pairs(n: int) -> Iterator[tuple[list[str], torch.Tensor, torch.Tensor]]:
    """Batches of random crops of the sample photographs and what JPEG makes of them."""
    source = open_images(None)
    photos = [np.array(source.read(name).resize((512, 512))) for name in source.ids]
    rng = np.random.default_rng(0)
    for start in range(0, n, BATCH):
        originals, restored = [], []
        for number in range(start, min(n, start + BATCH)):
            top, left = rng.integers(0, 512 - SIDE, 2)
            crop = photos[number % len(photos)][top : top + SIDE, left : left + SIDE]
            stream = io.BytesIO()
            Image.fromarray(crop).save(stream, "JPEG", quality=30)
            originals.append(crop)
            restored.append(np.array(Image.open(stream)))
        ids = [f"{start + i:06}" for i in range(len(originals))]
        sides = (torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2) for x in (originals, restored))
        yield ids, *(side.contiguous() for side in sides)


def random_weights(folder: Path) -> dict[str, Path]:
    """Files with the layout of Inception's and AlexNet's, drawn at random."""
    import torchvision
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    paths = {name: folder / f"{name}.pth" for name in ("inception", "alexnet")}
    load, load_state = torch.load, torch.nn.Module.load_state_dict
    torch.load = lambda *a, **k: {}  # type: ignore[assignment]
    torch.nn.Module.load_state_dict = lambda *a, **k: None  # type: ignore[method-assign, assignment]
    try:
        network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path="x")
    finally:
        torch.load, torch.nn.Module.load_state_dict = load, load_state  # type: ignore[method-assign]
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    torch.save(network.state_dict(), paths["inception"])
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), paths["alexnet"])
    return paths


def ours(n: int, paths: dict[str, Path], keys: tuple[str, ...] = KEYS) -> dict[str, float]:
    from ssdd_bench.evaluation.memory import keep_freed_memory
    from ssdd_bench.metrics import lpips
    from ssdd_bench.metrics.features import inception
    from ssdd_bench.metrics.suite import MetricSuite

    keep_freed_memory()
    for module in (inception, lpips):
        module.require = paths.__getitem__  # type: ignore[assignment]
    with MetricSuite(keys, torch.device("cpu")) as suite:
        for batch in pairs(n):
            suite.add_pairs(*batch)
        return {key: value.value or 0.0 for key, value in suite.compute().values.items()}


def usual(n: int, paths: dict[str, Path], folder: Path) -> dict[str, float]:
    import torch_fidelity
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    from ssdd_bench.metrics.lpips import load_lpips

    folders = folder / "originals", folder / "restored"
    for side in folders:
        side.mkdir(parents=True)
    for ids, *sides in pairs(n):
        for side, images in zip(folders, sides, strict=True):
            for name, image in zip(ids, images, strict=True):
                Image.fromarray(image.permute(1, 2, 0).numpy()).save(side / f"{name}.png")
    fid = torch_fidelity.calculate_metrics(
        input1=str(folders[1]),
        input2=str(folders[0]),
        fid=True,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
        feature_extractor_weights_path=str(paths["inception"]),
    )
    names = sorted(path.name for path in folders[0].iterdir())

    def read(side: Path, name: str) -> np.ndarray:
        return np.array(Image.open(side / name))

    network = load_lpips("alex", paths["alexnet"])  # what lpips.LPIPS() is after its download
    distances = []
    with torch.no_grad():
        for name in names:
            a, b = (
                torch.from_numpy(read(side, name)).permute(2, 0, 1)[None].float() / 127.5 - 1
                for side in folders
            )
            distances.append(network(a, b).item())
    psnr, ssim = [], []
    for name in names:
        a, b = (read(side, name) for side in folders)
        psnr.append(peak_signal_noise_ratio(a, b))
        ssim.append(structural_similarity(a, b, channel_axis=2))
    return {
        "rfid": fid["frechet_inception_distance"],
        "lpips_alex": float(np.mean(distances)),
        "psnr": float(np.mean(psnr)),
        "ssim_skimage7": float(np.mean(ssim)),
    }


def measured(function: Callable[..., Any], *args: Any) -> dict[str, Any]:
    """Run in a fresh process: the result, the seconds, and the peak of resident memory in MB."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure, (function, *args))


def _measure(function: Callable[..., Any], *args: Any) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    import torchmetrics  # noqa: F401  imports are no part of the time

    started = time.perf_counter()
    result = function(*args)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"result": result, "seconds": seconds, "peak_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--many", type=int, default=2000, help="0: leave the memory out")
    parser.add_argument("--json", action="store_true", help="print the times alone, as JSON")
    options = parser.parse_args()
    out = sys.stdout.write
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        paths = random_weights(folder)
        one = measured(ours, options.images, paths)
        again = measured(ours, options.images, paths)
        other = measured(usual, options.images, paths, folder / "png")
    runs = {"one pass": one, "originals seen before": again}
    if options.json:
        seconds = {name: run["seconds"] for name, run in runs.items()}
        times = {"seconds": seconds | {"chain of tools": other["seconds"]}}
        out(json.dumps(times | {"ratios": {k: other["seconds"] / s for k, s in seconds.items()}}))
        return
    out(f"| {options.images} images, {SIDE} px | seconds | peak MB |\n| :--- | ---: | ---: |\n")
    out(f"| one pass | {one['seconds']:.1f} | {one['peak_mb']:.0f} |\n")
    out(f"| one pass, originals seen before | {again['seconds']:.1f} | {again['peak_mb']:.0f} |\n")
    out(f"| PNG, torch-fidelity, lpips, scikit-image | {other['seconds']:.1f} |")
    out(f" {other['peak_mb']:.0f} |\n\n")
    ratios = (f"{other['seconds'] / mine['seconds']:.2f}" for mine in (one, again))
    out(f"Ratios of the times: {', '.join(ratios)}. Scores: ")
    out(f"{json.dumps(one['result'])} and {json.dumps(other['result'])}.\n\n")
    if options.many:
        keys = ("fd_effnet", "psnr", "ssim_skimage7")
        peaks = [measured(ours, n, {}, keys)["peak_mb"] for n in (options.images, options.many)]
        out(f"Peak memory of {', '.join(keys)}: {peaks[0]:.0f} MB for {options.images} images, ")
        out(f"{peaks[1]:.0f} MB for {options.many} ({100 * (peaks[1] / peaks[0] - 1):+.1f}%).\n\n")


if __name__ == "__main__":
    main()
