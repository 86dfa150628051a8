"""Results made by hand: one file read from disk, varied field by field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.results import MetricValue, Result, load_results

FIXTURE = Path(__file__).parents[1] / "fixtures" / "result.json"


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
            **{k: changes.pop(k) for k in ("family", "note", "params_decoder") if k in changes},
        )
        n = changes.pop("n", base.data.n)
        values = dict(base.metrics)
        for key, value in (metrics or {}).items():
            old = base.metrics.get(key, MetricValue(0.0, n, key.startswith("psnr"), "test"))
            values[key] = replace(old, value=value, infinite=0 if value is not None else n)
        speed = base.speed
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
                speed = replace(speed, device=changes.pop("device"))
        return replace(
            base,
            tokenizer=tokenizer,
            resolution=resolution,
            speed=speed,
            data=replace(base.data, n=n),
            metrics={key: replace(value, n=n) for key, value in values.items()},
            **changes,
        )

    return make
