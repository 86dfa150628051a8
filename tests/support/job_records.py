"""Record of a job of five images in chunks of two."""

from pathlib import Path

from ssdd_bench.api import LatentSpec
from ssdd_bench.evaluation.folder import JobIdentity, JobRecord
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.results.records import read_json
from ssdd_bench.results.store import from_json

EXAMPLE = Path(__file__).parents[1] / "fixtures" / "result.json"
BASE = from_json(read_json(EXAMPLE), EXAMPLE)
RECORD = JobRecord(
    identity=JobIdentity("ab", ("psnr",), ("inception",), True, False, 5, 2),
    tokenizer=BASE.tokenizer,
    resolution=16,
    protocol={"id": "default-v1", "sha256": "ab"},
    seed=3,
    steps=5,
    latent=LatentSpec("discrete", 4, 1, bits_per_value=2.0),
    data="letters",
    borders=("a", "c", "e"),
    options=MetricOptions(True, False),
    warnings=("known before",),
    speed=True,
    pictures=False,
    picture_quality=65,
    environment={"cpu": "x"},
    command="ssdd-bench run",
    created="2025-01-01T00:00:00Z",
    numbers_version=5,
)
