"""Results made by hand: one file read from disk, varied field by field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ssdd_bench.results.pictures import save_pictures
from ssdd_bench.results.schema import MetricValue, Result
from ssdd_bench.results.store import load_results, save_result

FIXTURE = Path(__file__).parents[1] / "fixtures" / "result.json"

_OF_TOKENIZER = ("family", "role", "note", "params_decoder")


@pytest.fixture
def make_result() -> Callable[..., Result]:
    (base,) = load_results([FIXTURE])
    assert base.speed is not None

    def make(
        label: str = "ssdd",
        resolution: int = 64,
        decode_ips: float | None = 20.0,
        metrics: dict[str, float | None] | None = None,
        **changes: Any,
    ) -> Result:
        """Vary the fixture; a metric given as None is infinite on every image."""
        tokenizer = replace(
            base.tokenizer,
            label=label,
            id=label.split(":")[0],
            options=base.tokenizer.options | {k: changes[k] for k in ("steps",) if k in changes},
            **{key: changes.pop(key) for key in _OF_TOKENIZER if key in changes},
        )
        n = changes.pop("n", base.data.n)
        values = dict(base.metrics)
        for key, value in (metrics or {}).items():
            old = base.metrics.get(key, MetricValue(0.0, n, key.startswith("psnr"), "test"))
            values[key] = replace(old, value=value, infinite=0 if value is not None else n)
        speed, execution = base.speed, base.execution
        if decode_ips is None:
            speed = None
        else:
            ratio = 20.0 / decode_ips
            timing = speed.decode
            speed = replace(
                speed,
                decode=replace(
                    timing,
                    median_s=timing.median_s * ratio,
                    q1_s=timing.q1_s * ratio,
                    q3_s=timing.q3_s * ratio,
                    images_per_s=decode_ips,
                ),
            )
            if "device" in changes:
                execution = replace(execution, device=changes.pop("device"))
        return replace(
            base,
            tokenizer=tokenizer,
            resolution=resolution,
            speed=speed,
            execution=execution,
            data=replace(base.data, n=n),
            metrics={key: replace(value, n=n) for key, value in values.items()},
            **changes,
        )

    return make


@pytest.fixture
def write_run(make_result: Callable[..., Result], tmp_path: Path) -> Callable[..., Path]:
    """Write results as a run leaves them: with scores of single images, and pictures."""

    def write(
        scores: dict[str, list[float]],
        resolutions: tuple[int, ...] = (32,),
        saved: int = 3,
        name: str = "runs",
        seed: int = 0,
    ) -> Path:
        """Write one result per label and resolution, from the PSNR of every image.

        The reconstructions are the originals, brighter by ten levels per place of the label.
        """
        folder, random = tmp_path / name, np.random.default_rng(0)
        for resolution in resolutions:
            shape = (saved, resolution, resolution, 3)
            originals = random.integers(0, 200, shape, dtype=np.uint8)
            for place, (label, values) in enumerate(scores.items()):
                result = make_result(
                    label,
                    resolution,
                    40.0 / (1 + place),
                    {"psnr": float(np.mean(values)), "fd_effnet": 10.0 + place},
                    n=len(values),
                    note="",
                    seed=seed,
                    fingerprint=f"{resolution:032x}{seed:016x}{place:016x}",
                )
                path = save_result(result, folder)
                table = pd.DataFrame(
                    {"id": [f"photo-{i}.jpg" for i in range(len(values))], "psnr": values}
                )
                (folder / "scores").mkdir(exist_ok=True)
                table.to_parquet(folder / "scores" / f"{path.stem}.parquet", index=False)
                save_result(replace(result, scores=f"scores/{path.stem}.parquet"), folder)
                brighter = originals + np.uint8(10 * (1 + place))
                save_pictures(path, result, originals, brighter)
        return folder

    return write
