"""Rates of a whole evaluation on one GPU, beside those of its networks alone.

    python tests/gpu/pipeline.py [PHOTOS] --out runs/gpu-pipeline.json

The photos are evaluated under many names by an SSDD-S with random weights, which is the fastest to
feed. Three rates in images a second: of encoding and decoding alone, and of the evaluation from
reading the files to the scores; and the share of its time in which the GPU computed.
Try it first: --device cpu --tiny.
"""

import argparse
import time
from pathlib import Path

import click
import torch
from PIL import Image

import ssdd_bench as sb
from ssdd_bench.data.images import open_images
from ssdd_bench.data.source import ImageSource
from ssdd_bench.diffusers import AutoencoderSSDD
from ssdd_bench.evaluation.environment import choose_device, describe_environment, device_name
from ssdd_bench.nn.decoder import SIZES
from ssdd_bench.results.files import write_json

METRICS = ["psnr", "ssim"]
PROFILED = 256  # images


class Repeated(ImageSource):
    """Images of another source under many names, each read and decoded anew."""

    def __init__(self, source: ImageSource, images: int) -> None:
        self.name, self._source = source.name, source
        self.ids = tuple(f"{number:06}" for number in range(images))

    def read(self, image_id: str) -> Image.Image:
        return self._source.read(self._source.ids[int(image_id) % len(self._source)])


def random_ssdd(tiny: bool) -> AutoencoderSSDD:
    torch.manual_seed(0)
    if tiny:
        return AutoencoderSSDD([32, 64, 128, 128], 4, [32, 32, 64, 64], 2, 1)
    small = SIZES["S"]
    return AutoencoderSSDD(
        decoder_block_out_channels=small.widths,
        decoder_attention_heads=small.heads,
        decoder_transformer_layers=small.depth,
    )


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="?", default="sample", help="as run takes --data")
    parser.add_argument("--images", type=int, help="2,000 unless the networks are narrow")
    parser.add_argument("--dtype", help="of the networks: bfloat16, but float32 of narrow ones")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--device", default="cuda", help="as torch names it")
    parser.add_argument("--tiny", action="store_true", help="narrow networks, to try it on a CPU")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    images = options.images or (4 if options.tiny else 2000)
    dtype = options.dtype or ("float32" if options.tiny else "bfloat16")
    model = random_ssdd(options.tiny).to(device)
    source = open_images(None if options.photos == "sample" else options.photos)
    settings = {
        "resolution": 64 if options.tiny else 256,
        "metrics": METRICS,
        "device": device,
        "batch_size": None if device.type == "cpu" else options.batch_size,
        "dtype": dtype,
        "progress": False,
    }

    def evaluate(count: int, **more: bool) -> tuple[sb.Evaluation, float]:
        started = time.perf_counter()
        result = sb.evaluate(model, data=Repeated(source, count), **settings, **more)
        return result, time.perf_counter() - started

    timed, _ = evaluate(min(PROFILED, images), speed=True)  # and warms up
    _, seconds = evaluate(images)
    speed = timed.speed
    rates = {
        "encoding alone, images/s": speed.encode.images_per_s,
        "decoding alone, images/s": speed.decode.images_per_s,
        "evaluation, images/s": images / seconds,
    }
    if device.type == "cuda":
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            _, seconds = evaluate(min(PROFILED, images))
        busy = sum(event.self_device_time_total for event in profile.key_averages())
        rates["time in which the GPU computed"] = busy / 1e6 / seconds
    for name, value in rates.items():
        click.echo(f"{name}: {value:.3g}")
    if options.out:
        origin = {"card": device_name(device), "environment": describe_environment(device)}
        write_json(options.out, {**origin, "dtype": dtype, "rates": rates})
    return rates


if __name__ == "__main__":
    main()
