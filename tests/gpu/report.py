"""Decoding speed of every SSDD and of the SD-VAE decoder on one GPU, with random weights.

    make gpu-report, or python tests/gpu/report.py --minutes 5.5 --out runs/gpu-report

Each row is a network at a resolution in a number format: its latency for one image, then larger
batches, doubled at 256 px and four times as large at 512 px, until the throughput stops growing;
memory; and how far the output is from the same network in float32, eager. A compiled network is
measured with the batch that was the best without compilation, one with CUDA graphs with one image.
Rows that matter most come first; what the minutes do not suffice for is listed. --kernels also
tells where the time of each row goes, and --cudnn-benchmark lets cuDNN try its convolutions.
OUT.json and OUT.md are written anew after every row. Try it first: --device cpu --tiny.
"""

import argparse
import copy
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from ssdd_bench.api.memory import is_out_of_memory, release_memory
from ssdd_bench.evaluation.environment import choose_device, describe_environment, device_name
from ssdd_bench.evaluation.memory import keep_freed_memory, peak_memory
from ssdd_bench.evaluation.timing import TimingSettings, count_gmac, summarise, time_calls
from ssdd_bench.nn.decoder import SIZES, DecoderSize, SSDDDecoder
from ssdd_bench.results.files import write_json, write_text

SCHEMA = 1
PAPER_RATIO = 1.45
"""Throughput of SSDD-S over that of the SD-VAE decoder in arXiv 2510.04961: 1027 to 707 images/s
at 256 px, on hardware that it does not name."""
SD_VAE = "SD-VAE"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TITLES = [
    *("network", "px", "format", "compiled", "images/s", "at batch", "ms at batch 1"),
    *("PSNR to fp32", "TFLOP/s", "GiB", "first call, s", "layout"),
]
GROWTH = 1.05  # a larger batch must be faster by this factor
KERNELS = 20  # of a row, the longest
FIRST_COMPILATION_S = 60.0  # expected, until one was measured
TINY = DecoderSize((16, 16, 32, 32), heads=2, depth=1, groups=4, init_std=None)
CUDA_TIMING = TimingSettings(seconds=0.4, warmup=3, min_calls=7, max_calls=50)
TINY_TIMING = TimingSettings(seconds=0.0, warmup=1, min_calls=2, max_calls=2)


@dataclass(frozen=True)
class Case:
    """Network and settings that one row measures."""

    model: str  # size of SSDD's decoder, or SD_VAE
    px: int
    dtype: str
    mode: str = "eager"  # or the mode of torch.compile
    layout: str = ""  # by default channels_last, but contiguous in fp32

    @property
    def memory_format(self) -> str:
        return self.layout or ("contiguous" if self.dtype == "fp32" else "channels_last")

    def __str__(self) -> str:
        return f"{self.model} {self.px} px {self.dtype} {self.mode} {self.memory_format}"


@dataclass
class Row:
    """Result of a case; numbers that could not be had are None."""

    case: Case
    gmac_per_image: float
    batches: list[dict[str, Any]] = field(default_factory=list)  # see Timing, in order of size
    first_call_s: float | None = None  # with the compilation, if any
    psnr_db: float | None = None  # None where the output is exact
    max_difference: float | None = None
    kernels: list[dict[str, Any]] = field(default_factory=list)  # with --kernels, of one call
    failure: str = ""

    def best(self) -> dict[str, Any]:
        return max(self.batches, key=lambda one: one["images_per_s"], default={})

    def record(self) -> dict[str, Any]:
        kept = {**asdict(self.case), "layout": self.case.memory_format}
        facts = {key: value for key, value in asdict(self).items() if key != "case"}
        best = self.best()
        tflops = 2 * self.gmac_per_image * best["images_per_s"] / 1000 if best else None
        return {**kept, **facts, "best_batch": best.get("batch"), "tflops": tflops}


def cases() -> Iterator[Case]:
    """Yield what is measured, the most wanted first."""
    pair, sizes = ("S", SD_VAE), ("B", "M", "L", "H")
    yield from (Case(model, 256, "bf16") for model in pair)
    yield from (Case(model, 256, "bf16", "default") for model in pair)
    yield from (Case(model, 512, "bf16") for model in pair)
    yield from (Case(model, 256, dtype) for dtype in ("fp32", "fp16") for model in pair)
    yield from (Case(model, 256, "bf16") for model in sizes)
    yield from (Case(model, 512, "bf16", "default") for model in pair)
    yield Case("M", 256, "bf16", "default")
    yield from (Case(model, 512, "bf16") for model in sizes)
    yield from (Case(model, 512, "fp32") for model in pair)
    yield from (Case(model, 256, "fp32", layout="channels_last") for model in pair)
    yield from (Case(model, 256, "bf16", layout="contiguous") for model in pair)
    yield from (Case(model, 256, "bf16", "reduce-overhead") for model in pair)
    yield from (Case(model, 256, "bf16", "max-autotune") for model in pair)
    yield from (Case(model, 256, "fp32", "default") for model in pair)
    yield from (Case(model, 256, "fp32") for model in sizes)
    yield from (Case(model, 256, "fp16") for model in sizes)
    yield from (Case(model, 512, dtype) for dtype, model in product(("fp16", "fp32"), sizes))
    yield from (Case(model, 512, "fp16") for model in pair)
    yield from (Case(model, 256, "bf16", "default") for model in ("B", "L", "H"))
    yield from (Case(model, 256, "fp16", "default") for model in pair)


def tiny_cases() -> Iterator[Case]:
    """Yield one case of each kind, for narrow networks on a CPU."""
    for model, dtype in product(("S", SD_VAE), ("fp32", "bf16")):
        yield Case(model, 64, dtype)
    yield Case("M", 136, "fp32", layout="channels_last")
    yield Case("S", 64, "fp32", "default")


class Network:
    """A decoder with random weights, as a function of noise and latent."""

    def __init__(self, model: str, tiny: bool, device: torch.device) -> None:
        torch.manual_seed(0)
        self.is_ssdd = model != SD_VAE
        with device:
            self.module = _ssdd(model, tiny) if self.is_ssdd else _SDVAEDecoder(tiny)
        self.module.eval().requires_grad_(False)

    def decode(self, network: Any, dtype: torch.dtype, layout: str) -> Callable[..., Tensor]:
        """Return the function that is timed; ``network`` is the module or its compiled form."""
        fmt = LAYOUTS[layout]

        def ssdd(x: Tensor, z: Tensor) -> Tensor:
            # The start and the image are float32, as in an evaluation.
            time = x.new_ones(len(x))
            return x + network(x.to(dtype, memory_format=fmt), time, z.to(dtype)).float()

        def sd_vae(x: Tensor, z: Tensor) -> Tensor:
            return network(z.to(dtype, memory_format=fmt)).float()

        return ssdd if self.is_ssdd else sd_vae


def _ssdd(model: str, tiny: bool) -> nn.Module:
    network = SSDDDecoder(TINY if tiny else SIZES[model], z_dim=4)
    for parameter in network.parameters():  # branches that start at zero would hide differences
        if not parameter.is_meta and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return network


class _SDVAEDecoder(nn.Module):
    """The decoder of Stable Diffusion's autoencoder, 49.5 M parameters."""

    def __init__(self, tiny: bool) -> None:
        from diffusers import AutoencoderKL

        super().__init__()
        vae: Any = AutoencoderKL(
            latent_channels=4,
            block_out_channels=(32, 32, 32, 32) if tiny else (128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))


@cache
def gmac(model: str, px: int, tiny: bool) -> float:
    """Count the multiply-accumulates per image, in 10^9."""
    meta = torch.device("meta")
    # SSDD's grow with the pixels; more than 1024 tokens take a kernel that cannot be counted.
    side = min(px, 256) if model != SD_VAE else px
    network = Network(model, tiny, meta)
    decode = network.decode(network.module, torch.float32, "contiguous")
    inputs = torch.empty(1, 3, side, side, device=meta), torch.empty(1, 4, side // 8, side // 8)
    with torch.inference_mode():
        found = count_gmac(lambda: decode(*(value.to(meta) for value in inputs)))
    return found * (px / side) ** 2


def make_inputs(px: int, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Sample noise and latents; those of a small batch are the first ones of a large batch."""
    images = [torch.Generator().manual_seed(index) for index in range(min(batch, 8))]
    x, z = (
        torch.stack([torch.randn(shape, generator=one) for one in images])
        for shape in ((3, px, px), (4, px // 8, px // 8))
    )
    rows = torch.arange(batch) % len(images)
    return x[rows].to(device), z[rows].to(device)


def profile(call: Callable[[], object], device: torch.device) -> list[dict[str, Any]]:
    """Return the kernels that take longest in a call that is warm, with calls and milliseconds."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    gpu = device.type == "cuda"
    activities = [ProfilerActivity.CUDA] if gpu else [ProfilerActivity.CPU]
    with record(activities=activities) as done:
        call()
        if gpu:
            torch.cuda.synchronize(device)
    found = [
        {
            "name": one.key,
            "calls": one.count,
            "ms": (one.self_device_time_total if gpu else one.self_cpu_time_total) / 1000,
        }
        for one in done.key_averages()
    ]
    return sorted(found, key=lambda one: -one["ms"])[:KERNELS]


class Report:
    """Measures cases one after another, within a time, and writes what it has."""

    def __init__(self, device: torch.device, minutes: float, tiny: bool, out: Path | None) -> None:
        self.device, self.minutes, self.tiny, self.out = device, minutes, tiny, out
        self.started = time.monotonic()
        self.environment = describe_environment(device)
        self.card = device_name(device)
        self.rows: list[Row] = []
        self.left_out: list[Case] = []
        self.settings = TINY_TIMING if tiny else CUDA_TIMING
        self.max_batch = 4 if tiny else 256
        self._compilations: dict[str, float] = {}  # seconds by mode
        self._outputs: dict[tuple[str, int], Tensor] = {}  # of float32, by network and pixels
        self.kernels = False
        self._network: tuple[str, Network] | None = None

    def run(self, wanted: Iterator[Case]) -> None:
        for case in wanted:
            if self._expected(case) > 60 * self.minutes - (time.monotonic() - self.started):
                self.left_out.append(case)
                continue
            row = Row(case, gmac(case.model, case.px, self.tiny))
            try:
                self._measure(row)
            except Exception as error:  # a row that fails is a finding, not an end
                lines = str(error).splitlines() or [""]
                row.failure = f"{type(error).__name__}: {lines[0][:160]}"
                self._network = None
            if case.mode != "eager":
                torch._dynamo.reset()  # which would also forget the kernels of FlexAttention
            release_memory(self.device)
            self.rows.append(row)
            click.echo(f"{time.monotonic() - self.started:5.0f} s  {self.line(row)}")
            for one in row.kernels:
                click.echo(f"{one['ms']:12.3f} ms {one['calls']:6} {one['name'][:100]}")
            self.write()
        self.write()

    def _expected(self, case: Case) -> float:
        """Return the seconds that a case may take; a compilation cannot be stopped half-way."""
        if case.mode == "eager":
            return (20.0 if case.px > 256 else 5.0) if self.device.type == "cuda" else 0.0
        least = 0.0 if self.tiny else FIRST_COMPILATION_S
        factor = 3.0 if case.mode == "max-autotune" else 1.2
        return factor * self._compilations.get("default", least)

    def _network_of(self, model: str) -> Network:
        if self._network is None or self._network[0] != model:
            self._network = None
            release_memory(self.device)
            self._network = model, Network(model, self.tiny, self.device)
        return self._network[1]

    def _measure(self, row: Row) -> None:
        case, device = row.case, self.device
        network = self._network_of(case.model)
        module, dtype = network.module, DTYPES[case.dtype]
        expected = self._exact(case, network, make_inputs(case.px, 1, device))
        # A copy in the format of the case: the weights would not come back from a shorter one.
        module = copy.deepcopy(module).to(dtype, memory_format=LAYOUTS[case.memory_format])
        called: Any = module
        if case.mode != "eager":
            backend = {"backend": "aot_eager"} if self.tiny else {"mode": case.mode}
            called = torch.compile(module, dynamic=False, fullgraph=network.is_ssdd, **backend)
        decode = network.decode(called, dtype, case.memory_format)
        found: Tensor | None = None
        for batch in self._batches(row):
            try:
                call = partial(decode, *make_inputs(case.px, batch, device))
                self._time(row, batch, call)
                if found is None:
                    found = call()[:1].clone()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or batch == 1:
                    raise
                break
        assert found is not None
        if self.kernels:
            call = partial(decode, *make_inputs(case.px, row.best()["batch"], device))
            row.kernels = profile(call, device)
        difference = (found - expected).double()
        row.max_difference = difference.abs().max().item()
        mse = difference.square().mean().item()
        # The range of images is [-1, 1], so the peak is 2.
        row.psnr_db = 10 * torch.tensor(4 / mse).log10().item() if mse else None

    def _exact(self, case: Case, network: Network, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Return the output in float32, eager, which is the same whenever the network is made."""
        key = case.model, case.px
        if key not in self._outputs:
            decode = network.decode(network.module, torch.float32, "contiguous")
            self._outputs[key] = decode(*inputs)
        return self._outputs[key]

    def _batches(self, row: Row) -> Iterator[int]:
        """Yield 1, then larger batches while they pay; one for a compiled network."""
        case = row.case
        if case.mode != "eager":
            eager = replace(case, mode="eager")
            best = next((one.best() for one in self.rows if one.case == eager), {})
            yield 1 if case.mode == "reduce-overhead" else best.get("batch", 1)
            return
        yield 1
        # Above 256 px every batch size compiles FlexAttention, for seconds.
        factor = 4 if case.px > 256 and self.device.type == "cuda" else 2
        batch = factor
        while batch <= self.max_batch:
            before = row.best()["images_per_s"]
            yield batch
            if row.batches[-1]["images_per_s"] < GROWTH * before:
                return
            batch *= factor

    def _time(self, row: Row, batch: int, call: Callable[[], Tensor]) -> None:
        started = time.monotonic()
        call()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        first = time.monotonic() - started
        if row.first_call_s is None:
            row.first_call_s = first
        if row.case.mode != "eager":
            longest = max(first, self._compilations.get(row.case.mode, 0.0))
            self._compilations[row.case.mode] = longest
        memory, kind = peak_memory(call, self.device)
        seconds = time_calls(call, self.device, self.settings)
        warmup = self.settings.warmup
        timing = summarise(seconds, warmup, batch, row.gmac_per_image, memory, kind)
        row.batches.append(asdict(timing))

    def ratios(self) -> list[dict[str, Any]]:
        """Compare S with the SD-VAE decoder, each at its best batch, in the same settings."""
        found = {row.case: row for row in self.rows}
        result = []
        for case, row in found.items():
            other = found.get(replace(case, model=SD_VAE))
            if case.model != "S" or other is None or not row.batches or not other.batches:
                continue
            s, vae = (one.best()["images_per_s"] for one in (row, other))
            shared = {k: v for k, v in asdict(case).items() if k != "model"}
            shared["layout"] = case.memory_format
            result.append({**shared, "ssdd_s": s, "sd_vae": vae, "ratio": s / vae})
        return result

    def record(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "kind": "decoding speed",
            "card": self.card,
            "tiny": self.tiny,
            "seconds": time.monotonic() - self.started,
            "environment": self.environment,
            "timing": asdict(self.settings),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "rows": [row.record() for row in self.rows],
            "ratios": self.ratios(),
            "paper_ratio": PAPER_RATIO,
            "left_out": [str(case) for case in self.left_out],
        }

    def line(self, row: Row) -> str:
        if not row.batches:
            return f"{row.case}: {row.failure}"
        best, record = row.best(), row.record()
        return (
            f"{row.case}: {_milliseconds(record)} ms, {best['images_per_s']:.1f} images/s at batch "
            f"{best['batch']}, {best['peak_memory_bytes'] / 2**30:.2f} GiB, "
            f"{_decibels(record)} {row.failure}"
        )

    def markdown(self) -> str:
        environment = self.environment
        lines = [
            f"# Decoding on {self.card}",
            "",
            f"torch {environment['torch']}, CUDA {environment['cuda']}, driver "
            f"{environment['gpu_driver']}, commit {environment['commit']}; random weights, one "
            "step; TF32 off.",
            "GiB is the peak on top of the weights, at the best batch.",
            "",
            *table(self.record()["rows"]),
            "",
            *(
                f"SSDD-S : SD-VAE at {one['px']} px, {one['dtype']}, {one['mode']}, "
                f"{one['layout']}: {one['ratio']:.2f}"
                for one in self.ratios()
            ),
            f"The paper, at 256 px on hardware that it does not name: {PAPER_RATIO}",
            *(f"Left out for lack of time: {case}" for case in self.left_out),
        ]
        return "\n".join(lines) + "\n"

    def write(self) -> None:
        if self.out is not None:
            write_json(self.out.with_name(f"{self.out.name}.json"), self.record())
            write_text(self.out.with_name(f"{self.out.name}.md"), self.markdown())


def table(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Write the rows of a record as lines of Markdown."""
    lines = [TITLES, ["--"] * 4 + ["--:"] * 7 + ["--"], *map(_cells, rows)]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _cells(row: dict[str, Any]) -> list[str]:
    name = row["model"] if row["model"] == SD_VAE else f"SSDD-{row['model']}"
    mode, failure = row["mode"].replace("eager", ""), row["failure"].replace("|", "/")
    cells = [name, str(row["px"]), row["dtype"], mode]
    best = next((one for one in row["batches"] if one["batch"] == row["best_batch"]), None)
    if best is None:
        return [*cells, failure, *[""] * 6, row["layout"]]
    return [
        *cells,
        f"{best['images_per_s']:.1f}",
        str(best["batch"]),
        _milliseconds(row),
        failure or _decibels(row),
        f"{row['tflops']:.1f}",
        f"{best['peak_memory_bytes'] / 2**30:.2f}",
        f"{row['first_call_s']:.1f}",
        row["layout"],
    ]


def _milliseconds(row: dict[str, Any]) -> str:
    """Return the latency of one image, or nothing where no single one was timed."""
    first = row["batches"][0]
    return f"{1000 * first['median_s']:.2f}" if first["batch"] == 1 else ""


def _decibels(row: dict[str, Any]) -> str:
    if row["max_difference"] is None:
        return ""
    return "exact" if row["psnr_db"] is None else f"{row['psnr_db']:.1f} dB"


def main(arguments: list[str] | None = None) -> Report:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.5, help="start no row after these")
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md after every row")
    parser.add_argument("--device", default="cuda", help="as torch names it")
    parser.add_argument("--tiny", action="store_true", help="narrow networks, to try it on a CPU")
    parser.add_argument("--kernels", action="store_true", help="profile each row")
    parser.add_argument("--cudnn-benchmark", action="store_true", help="as PyTorch's switch")
    parser.add_argument("--only", default="", help="rows whose names this expression finds")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    keep_freed_memory()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = options.cudnn_benchmark
    report = Report(device, options.minutes, options.tiny, options.out)
    report.kernels = options.kernels
    wanted = tiny_cases() if options.tiny else cases()
    with torch.inference_mode():
        report.run(case for case in wanted if re.search(options.only, str(case)))
    click.echo(report.markdown())
    return report


if __name__ == "__main__":
    sys.exit(0 if main().rows else 1)
