"""Results that tests of the gate compare."""

import pytest

from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.run import run_jobs
from ssdd_bench.gate.load import load_side
from ssdd_bench.metrics.features import effnet
from ssdd_bench.plugins.registry import TOKENIZERS, parse_requests

METRICS = ("psnr", "ssim", "mae", "fd_effnet")
MINI = next((TOKENIZERS.all()["ssdd"].folder / "weights").glob("*.safetensors"))


@pytest.fixture(scope="session")
def mini_weights():
    """The shipped weights."""
    return MINI


@pytest.fixture(scope="session")
def measure():
    return measure_at_64


def measure_at_64(request, out, seeds=(0,), limit=12):
    plan = RunConfig(
        requests=tuple(parse_requests(request)),
        resolutions=(64,),
        out=out,
        metrics=METRICS,
        limit=limit,
        seeds=seeds,
        speed=False,
        pictures=False,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effnet, "EFFNET_SIDE", 64)  # a twelfth of the pixels, on both sides
        run_jobs(plan)
    return load_side(str(out))


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """Results of the shipped decoder and of a codec."""
    out = tmp_path_factory.mktemp("base")
    checkpoint = out / "decoder.safetensors"
    checkpoint.write_bytes(MINI.read_bytes())
    checkpoint.with_suffix(".json").write_text('{"stage": "distil"}')  # decodes in one step
    measure_at_64(f"ssdd:checkpoint={checkpoint},jpeg:quality=90", out / "results")
    return out
