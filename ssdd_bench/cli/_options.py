"""Options that several verbs share.

Imports no torch, since completion must be quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ssdd_bench.cli._values import (
    SECONDS,
    SEED,
    Batches,
    CommaList,
    complete_data,
    complete_tokenizers,
    one_of,
    read_load_threads,
    read_sbatch,
    read_shard,
    several_of,
)
from ssdd_bench.cli._verbs import (
    COUNT,
    Choice,
    Declaration,
    IntegerRange,
    NumberRange,
    flag,
    option,
    switch,
)
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.results.schema import Compilation, NumberFormat
from ssdd_bench.tracking.trackers import TRACKERS, TrackerName

if TYPE_CHECKING:
    from ssdd_bench.evaluation.launch_settings import Launch


def set_threads(count: int | None) -> None:
    """Set the number of CPU threads that torch uses; None leaves it as it is."""
    import torch

    if count is not None:
        torch.set_num_threads(count)


def _metrics(applies_to: Literal["pairs", "samples"]) -> Declaration:
    text = "Measure these, by key.  [default: the protocol's]"
    keys = several_of(partial(find_metrics, applies_to))
    return option(text, "KEYS", CommaList(str, "psnr,ssim", 0), keys)


# Tokenizers and images.

Tokenizers = Annotated[
    str,
    option(
        "Take these ids with options, paths or Hub ids, such as ssdd,jpeg:quality=10.",
        complete=complete_tokenizers,
    ),
]
Tokenizer = Annotated[
    str, option("Take this id with options, path or Hub id.", "ID", complete=complete_tokenizers)
]
Data = Annotated[
    str,
    option(
        "Read images by name (list data), folder, .tar, .npz, .parquet, pattern or URL.",
        complete=complete_data,
    ),
]
Resolution = Annotated[int, option("Set the side of the images in pixels.", "PX")]
Resolutions = Annotated[
    tuple[int, ...],
    option(
        "Set the sides of the images in pixels, such as 256,512.",
        "PX,...",
        CommaList(COUNT, "256,512"),
    ),
]
Limit = Annotated[int, option("Use so many of the images.", "N")]
Sample = Annotated[int, option("Draw so many of the images.", "N")]
SampleSeed = Annotated[int, option("Set the seed of the draw.", "N", SEED)]
MaxImageMB = Annotated[int, option("Leave out images that are larger in memory.", "MB")]
Seed = Annotated[int, option("Set the seed of the noise.", "N", SEED)]
Seeds = Annotated[
    tuple[int, ...],
    option("Set the seeds of the noise, such as 0,1,2.", "N,...", CommaList(SEED, "0,1,2")),
]

# Scores.

ReferenceLimit = Annotated[int, option("Use so many of the reference images.", "N")]
Protocol = Annotated[
    str, option("Follow this protocol, see `list protocols`.", "ID", complete=one_of(PROTOCOLS.all))
]
Protocols = Annotated[
    tuple[str, ...],
    option(
        "Follow these protocols, such as default-v1,ssdd-paper-v1.",
        "IDS",
        CommaList(str, "default-v1,ssdd-paper-v1"),
        several_of(PROTOCOLS.all),
    ),
]
Metrics = Annotated[tuple[str, ...], _metrics("pairs")]
SampleMetrics = Annotated[tuple[str, ...], _metrics("samples")]
ResultFolder = Annotated[Path, option("Write the results to this folder.")]
Intervals = Annotated[bool, switch("Add confidence intervals and FD-infinity, which is slower.")]
Strict = Annotated[bool, switch("Fail if an image is unreadable or a metric unavailable.")]
Offline = Annotated[bool, switch("Fetch no weights: fail at once if one is missing.")]

# Execution.

BatchSize = Annotated[
    int, option("Put so many images into a batch on a GPU; a CPU takes fewer.", "N")
]
BatchSizes = Annotated[
    tuple[int, ...] | Literal["auto"],
    option(
        "Put so many images into a batch; time a list, or auto.  [default: 1; GPU: 64, auto]",
        "N,...",
        Batches(COUNT, "1,8,32, or auto"),
    ),
]
Dtype = Annotated[
    NumberFormat, option("Compute the networks in this number format.  [default: the protocol's]")
]
NetworkDtype = Annotated[NumberFormat, option("Compute the network in this number format.")]
Compile = Annotated[Compilation, option("Compile the networks by torch.compile.")]
MemoryFormat = Annotated[
    Literal["auto", "contiguous", "channels_last"],
    option("Use this memory format for the networks; auto is the faster one."),
]
CudaGraphs = Annotated[bool, flag("Replay compiled networks as CUDA graphs.")]
Device = Annotated[str, option("Compute on auto, cpu, cuda or cuda:1.", "NAME")]
LoadThreads = Annotated[
    int,
    option(
        "Load images with so many threads; 0 is none.  [default: auto]",
        "auto|N",
        read_load_threads,
        show_default=False,
    ),
]
Threads = Annotated[int, option("Use so many CPU threads.  [default: all]", "N")]
Jobs = Annotated[
    int,
    option(
        "Start so many workers, which share a CPU's threads.  [default: 1, or one for each GPU]",
        "N",
    ),
]
Timeout = Annotated[
    float, option("Give up a job after S seconds without progress.  [default: never]", "S", SECONDS)
]
Shard = Annotated[
    tuple[int, int],
    option(
        "Compute share I of N, from 0 on; then run the same without.",
        "I/N",
        read_shard,
        show_default=False,
    ),
]
InProcess = Annotated[bool, flag("Work in this process, to debug a plugin.")]
Wait = Annotated[float, option("Let ranks of torchrun wait S seconds at most.", "S", SECONDS)]
Launcher = Annotated[
    Literal["local", "slurm", "slurm-local", "ray"],
    option("Work here, on SLURM or on a Ray cluster; slurm-local tries shares of SLURM here."),
]
GpusPerJob = Annotated[
    int,
    option(
        "Give a job so many GPUs on SLURM or Ray.  [default: 1; CPU: 0]", "N", IntegerRange(min=0)
    ),
]
Sbatch = Annotated[
    dict[str, str],
    option(
        "Pass options to sbatch, such as '--partition=gpu --time=8:00:00'.", "OPTIONS", read_sbatch
    ),
]
Track = Annotated[
    tuple[TrackerName, ...],
    option(
        f"Report to trackers: {','.join(TRACKERS)}.",
        "NAMES",
        CommaList(Choice(TRACKERS), "tensorboard,wandb", 0),
        several_of(lambda: TRACKERS),
    ),
]
Quiet = Annotated[bool, flag("Show neither progress nor a table.")]


@dataclass(frozen=True)
class Launching:
    """Options of verbs whose work any number of processes can do."""

    jobs: Jobs | None = None
    timeout: Timeout | None = None
    in_process: InProcess = False
    launcher: Launcher = "local"
    gpus_per_job: GpusPerJob | None = None
    sbatch: Sbatch | None = None
    wait: Wait = 3600.0

    @property
    def on_slurm(self) -> bool:
        """Return True if SLURM divides the work, or its shares are tried here."""
        return self.launcher in ("slurm", "slurm-local")

    def make(
        self, device: str, threads: int | None = None, shard: tuple[int, int] | None = None
    ) -> Launch:
        """Return where to compute, but for SLURM.

        Args:
            device: of the workers, as typed.
            threads: of the CPU, for each worker.
            shard: index and count of a share.

        Raises:
            UserError: options contradict each other.
        """
        from ssdd_bench.errors import UserError
        from ssdd_bench.evaluation.launch_settings import Launch
        from ssdd_bench.launch.ranks import find_rank
        from ssdd_bench.launch.shares import Share

        if self.sbatch and not self.on_slurm:
            raise UserError("--sbatch is for SLURM: add --launcher slurm, or leave --sbatch out")
        if self.gpus_per_job is not None and self.launcher == "local":
            raise UserError(
                "--gpus-per-job is for SLURM and Ray: add --launcher slurm or --launcher ray, or "
                "leave --gpus-per-job out"
            )
        share = Share(*shard) if shard else None
        rank = None if share else find_rank()
        gpus = self.count_gpus(device) if self.launcher == "ray" else None
        return Launch(
            self.in_process, self.jobs, threads, self.timeout, share, rank, self.wait, gpus
        )

    def count_gpus(self, device: str) -> int:
        """Return the number of GPUs of each job on a cluster."""
        from ssdd_bench.evaluation.launch_settings import count_gpus

        return count_gpus(device, self.gpus_per_job, elsewhere=self.launcher == "slurm")


@dataclass(frozen=True)
class Scoring:
    """Options of both verbs that score images made elsewhere."""

    label: Annotated[
        str,
        option("Show this name in tables.  [default: the name of the images]", show_default=False),
    ] = ""
    device: Device = "auto"
    max_image_mb: MaxImageMB = 256
    load_threads: LoadThreads | None = None
    out: ResultFolder = Path("runs")
    strict: Strict = False
    offline: Offline = False
    quiet: Quiet = False


# Training.

DiTRecipe = Annotated[str, option("Follow this recipe: nano, nano-1, xl-2, or a .toml.", "NAME")]
Iterations = Annotated[int, option("Train for so many iterations, instead of the recipe's.", "N")]
Minutes = Annotated[
    float, option("Stop after this time in all, resumed runs included.", "N", NumberRange(0))
]
Restart = Annotated[bool, flag("Start from scratch instead of resuming.")]

# Sampling.

DiT = Annotated[
    Path, option("Load a DiT or SiT checkpoint, or its folder.  [default: a shipped one]")
]
Samples = Annotated[int, option("Sample so many images.", "N")]
Labels = Annotated[
    Literal["equal", "random"], option("Take equally many of each class, or random ones.")
]
Sampler = Annotated[
    Literal["euler", "heun", "ddpm"],
    option("Use this solver.  [default: euler for flows, ddpm for DDPM]"),
]
Steps = Annotated[int, option("Take so many steps of the sampler.", "N")]
Guidance = Annotated[float, option("Guide with this scale; 1 is none.", "SCALE")]
GuidanceInterval = Annotated[
    tuple[float, float],
    option(
        "Guide between these times: 1 is noise, 0 the image.",
        "FROM,TO",
        CommaList(float, "0,0.9", 2),
    ),
]
GuidedChannels = Annotated[int, option("Guide so many channels.  [default: all]", "N")]
