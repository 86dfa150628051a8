"""Comparison of an earlier result with the one that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.settings import Settings
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.metrics.frechet import FrechetDistance
from ssdd_bench.metrics.intervals import GROUPS, JACKKNIFE
from ssdd_bench.plugins.discovery import BUILT_IN
from ssdd_bench.results.schema import MetricValue, Result
from ssdd_bench.weights.assets import cached_path


def has_scores(old: Result, wanted: Sequence[str], config: RunConfig) -> bool:
    """Return True if a result has the metrics that are wanted, of images that are wanted."""
    return not any(_is_missing(old, key, config) for key in wanted) and not (
        config.strict and old.data.skipped
    )


def has_speed(old: Result, config: RunConfig) -> bool:
    """Return True if no speed is asked for, or that of the batches asked for is there.

    Batches that ran out of memory count.
    """
    asked = config.batch_size
    if not config.speed:
        return True
    if old.speed is None or asked is None or not old.speed.batches:
        return old.speed is not None
    if asked == "auto":
        return len(old.speed.batches) > 1
    sizes = (asked,) if isinstance(asked, int) else asked
    return max(old.speed.batches) >= max(sizes) or bool(old.speed.warning)


def extend(settings: Settings, old: Result) -> Settings:
    """Add what an earlier result holds, so that nothing is lost when it is replaced."""
    known = find_metrics("pairs")
    kept = [key for key in old.metrics if key in known]
    had_intervals = any(one.interval_method == JACKKNIFE for one in old.metrics.values())
    return replace(
        settings,
        metrics=tuple(dict.fromkeys((*settings.metrics, *kept))),
        speed=settings.speed or old.speed is not None,
        intervals=settings.intervals or had_intervals,
    )


def can_be_computed(key: str, unavailable: MetricValue) -> bool:
    """Return True if a metric that was unavailable may be available now.

    Args:
        key: of the metric.
        unavailable: its record. One with a backend was computed, and the images did not suffice.
    """
    info = find_metrics("pairs")[key]
    if info.source != BUILT_IN:  # its author may have fixed it
        return True
    if unavailable.backend or not info.assets or info.missing_package:
        return False
    return all(map(cached_path, info.assets))


def _is_missing(old: Result, key: str, config: RunConfig) -> bool:
    """Return True if a metric is missing, or was unavailable and can be computed now."""
    value = old.metrics.get(key)
    if value is None:
        return True
    if value.unavailable:
        return config.strict or can_be_computed(key, value)  # with strict it is an error
    has_interval = issubclass(find_metrics("pairs")[key].load(), FrechetDistance)
    enough = value.n >= GROUPS and not value.interval_method
    return config.intervals and has_interval and enough
