"""Result records as one tidy table, the only thing the tables and the figures look at."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import MetricValue, Result, Timing
from ssdd_bench.results.store import find_results, load_results

_METRICS = "higher_is_better"  # key of DataFrame.attrs; survives filters and sorting
_INTEGERS = ("f", "channels", "tokens", "steps", "threads", "batch", "peak_memory_bytes")
_FLOATS = ("floats_per_pixel", "bits_per_pixel", "gmac_model", "gmac_decode")

# What a reader looks for first; other metrics follow in alphabetical order.
_FIRST_METRICS = (
    "rfid",
    "gfid",
    "fd_dinov2",
    "fd_effnet",
    "psnr",
    "ssim",
    "lpips_alex",
    "lpips_vgg",
)


Scores = Mapping[str, "pd.Series[float]"]
"""By metric: the score of each image, by id."""


@dataclass(frozen=True)
class Footnote:
    """A remark about one cell of the table.

    Attributes:
        column: a metric's key, ``decode_ips`` for timings, or ``label`` for the whole row.
        text: one sentence.
    """

    column: str
    text: str


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: same images, same crops, same protocol, same resolution."""

    resolution: int
    protocol: str
    data: str
    n: int
    rows: pd.DataFrame


def load_frame(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Lay out result files and folders of them, with the scores of single images beside them.

    Returns:
        See :func:`to_frame`.

    Raises:
        UserError: see :func:`to_frame` and :func:`ssdd_bench.results.store.load_results`; or a
            file of scores is damaged. One that is gone does no harm.
    """
    files = find_results(paths)
    results = load_results(files)
    return to_frame(results, list(map(read_scores, files, results)))


def to_frame(results: Sequence[Result], scores: Sequence[Scores] = ()) -> pd.DataFrame:
    """Lay out results one row per cell, sorted by resolution and then by label.

    Args:
        results: at least one, as :func:`ssdd_bench.results.store.load_results` gives them.
        scores: of single images, for each result; none if empty.

    Returns:
        A frame with the columns below and one numeric column per metric. A metric is ``inf``
        where every image is identical to its original and NaN where it is unavailable.
        Speeds are images/s: median, and first and third quartile.

        label, id, title, family, resolution, protocol, f, channels, latent ("32x32x4": height,
        width, channels), tokens, floats_per_pixel, bits_per_pixel, steps, n, metrics..., ends of
        their 95% intervals (METRIC_low, METRIC_high; NaN where there are none),
        model_ips, model_ips_q1, model_ips_q3 (of the model that drew generated latents),
        encode_ips, encode_ips_q1, encode_ips_q3, decode_ips, decode_ips_q1, decode_ips_q3,
        params_encoder, params_decoder, gmac_model, gmac_decode, peak_memory_bytes,
        peak_memory_kind, device, threads, dtype, batch, seed, data, data_sha256, note, kind
        ("reconstruction" or "generation"), identity (hash of the tokenizer's options and
        weights and of the model that drew), fingerprint, footnotes (tuple of Footnote), scores
        (of single images, see ``Scores``; may be empty).

    Raises:
        UserError: there is no result, or two disagree on whether more of a metric is better.
    """
    if not results:
        raise UserError("no results to report: name at least one result file or folder")
    directions: dict[str, bool] = {}
    for result in results:
        for key, metric in result.metrics.items():
            if directions.setdefault(key, metric.higher_is_better) != metric.higher_is_better:
                raise UserError(
                    f"metric '{key}' counts upwards in one result and downwards in another: "
                    "measure both again with one version of ssdd-bench"
                )
    metrics = [key for key in _FIRST_METRICS if key in directions]
    metrics += sorted(directions.keys() - set(metrics))
    pairs = zip(results, scores or [{}] * len(results), strict=True)
    ordered = sorted(pairs, key=lambda pair: _sort_key(pair[0]))
    frame = pd.DataFrame([{**_row(one, metrics), "scores": found} for one, found in ordered])
    frame = frame.astype(
        dict.fromkeys(_INTEGERS, "Int64") | dict.fromkeys([*metrics, *_FLOATS], "float64")
    )
    frame.attrs[_METRICS] = directions
    return frame


def metric_directions(frame: pd.DataFrame) -> dict[str, bool]:
    """Return the metric columns of a frame and whether more is better, in column order."""
    directions: dict[str, bool] = frame.attrs[_METRICS]
    return {key: directions[key] for key in frame.columns if key in directions}


def check_metric(frame: pd.DataFrame, metric: str) -> None:
    """Refuse a metric that no result holds, naming those that are there."""
    if metric not in metric_directions(frame):
        raise UnknownNameError("metric", metric, metric_directions(frame))


def comparable_groups(frame: pd.DataFrame) -> Iterator[Group]:
    """Split a frame into the groups whose numbers may stand in one table or one panel."""
    keys = ["resolution", "protocol", "data", "n", "data_sha256"]
    for rows in split(frame, keys):
        first = rows.iloc[0]
        yield Group(
            int(first["resolution"]), first["protocol"], first["data"], int(first["n"]), rows
        )


def split(frame: pd.DataFrame, keys: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows that share the values of ``keys``, in order of first appearance."""
    for index in frame.groupby(list(keys), sort=False, dropna=False).groups.values():
        yield frame.loc[index]


def competes(rows: pd.DataFrame) -> pd.Series[bool]:
    """Tell which rows may be called best: not the controls, nor what loses nothing at all."""
    scores = rows[list(metric_directions(rows))]
    return (rows["family"] != "control") & ~scores.isin([math.inf, -math.inf]).any(axis=1)


def is_yardstick(rows: pd.DataFrame) -> pd.Series[bool]:
    """Tell which rows stand beside tokenizers for comparison only: codecs and controls.

    At the rates of photographs codecs beat every tokenizer, at a hundred times the speed, but no
    model can be trained on a file. Where there is no tokenizer, nothing is a yardstick.
    """
    yardsticks = rows["family"].isin(["codec", "control"])
    return yardsticks & (not yardsticks.all())


def is_ranked(rows: pd.DataFrame) -> pd.Series[bool]:
    """Tell which of the rows that compete are marked as best: codecs only among themselves."""
    return competes(rows) & ~is_yardstick(rows)


def display_names(rows: pd.DataFrame) -> list[str]:
    """Name the rows of one group, with the seed where one label was measured with several."""
    several = rows["label"].duplicated(keep=False)
    return [
        f"{label} (seed {seed})" if repeated else label
        for label, seed, repeated in zip(rows["label"], rows["seed"], several, strict=True)
    ]


def without_steps(label: str) -> str:
    """Name what has steps: ``d:f=16`` of ``d:f=16,steps=4``, ``d + DiT`` of ``d:steps=1 + DiT``."""
    rest = re.sub(r"(?<=[:,])steps=\d+,?", "", label)
    return re.sub(r"[:,](?=$| \+ )", "", rest)


def describe_hardware(rows: pd.DataFrame) -> list[str]:
    """Name every distinct machine setting that the speeds of these rows were measured on."""
    timed = rows[rows["decode_ips"].notna()]
    distinct = timed[["device", "threads", "dtype"]].drop_duplicates()
    return [
        f"{device}, {threads} thread{'s' if threads != 1 else ''}, {dtype}"
        for device, threads, dtype in distinct.itertuples(index=False)
    ]


def read_scores(file: Path, result: Result) -> Scores:
    """Read the scores of single images that lie beside a result; empty where there are none.

    Raises:
        UserError: the file is damaged.
    """
    path = file.parent / result.scores
    if not result.scores or not path.exists():
        return {}
    try:
        table = pd.read_parquet(path).set_index("id")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: damaged: delete it or measure again") from error
    return {str(key): table[key] for key in table}


def _row(result: Result, metrics: list[str]) -> dict[str, Any]:
    tokenizer, latent, data, speed = result.tokenizer, result.latent, result.data, result.speed
    shape, generation = latent.shape, result.generation
    model = generation.model_time if generation else None
    decode = speed.decode if speed else generation.decoder_time if generation else None
    machine = (
        (speed.device, speed.threads, speed.dtype)
        if speed
        else (*(result.environment.get(key) for key in ("device", "threads")), "float32")
        if decode
        else ("", None, "")
    )
    return {
        "label": tokenizer.label,
        "id": tokenizer.id,
        "title": tokenizer.title,
        "family": tokenizer.family,
        "resolution": result.resolution,
        "protocol": str(result.protocol["id"]),
        "f": latent.f,
        "channels": latent.channels,
        "latent": f"{shape[1]}x{shape[2]}x{shape[0]}" if shape else latent.kind,
        "tokens": latent.tokens,
        "floats_per_pixel": latent.floats_per_pixel,
        "bits_per_pixel": latent.bits_per_pixel,
        "steps": result.steps,
        "n": data.n,
        **{key: _value(result.metrics.get(key)) for key in metrics},
        **{
            f"{key}_{end}": _end(result.metrics.get(key), i)
            for key in metrics
            for i, end in enumerate(("low", "high"))
        },
        **_speeds("model", model),
        **_speeds("encode", speed.encode if speed else None),
        **_speeds("decode", decode),
        "params_encoder": tokenizer.params_encoder,
        "params_decoder": tokenizer.params_decoder,
        "gmac_model": model.gmac_per_image if model else None,
        "gmac_decode": decode.gmac_per_image if decode else None,
        "peak_memory_bytes": decode.peak_memory_bytes if decode else None,
        "peak_memory_kind": decode.peak_memory_kind if decode else "",
        **dict(zip(("device", "threads", "dtype"), machine, strict=True)),
        "batch": decode.batch if decode else None,
        "seed": result.seed,
        "data": data.name,
        "data_sha256": data.pixels_sha256,
        "note": tokenizer.note,
        "kind": "generation" if _is_generation(result) else "reconstruction",
        "identity": _identity(result),
        "fingerprint": result.fingerprint,
        "footnotes": tuple(_footnotes(result)),
    }


def _identity(result: Result) -> str:
    """Hash what was measured, whatever the label says: all but images, protocol and seed."""
    one, drawn = result.tokenizer, result.generation
    how = {} if drawn is None else asdict(drawn) | dict.fromkeys(("model_time", "decoder_time"))
    return fingerprint([one.id, one.options, one.version, one.weights, result.steps, how])


def _is_generation(result: Result) -> bool:
    return result.generation is not None or result.protocol.get("kind") == "generation"


def _value(metric: MetricValue | None) -> float:
    if metric is None or metric.unavailable:
        return math.nan
    if metric.value is None:
        return math.inf if metric.infinite else math.nan
    return metric.value


def _end(metric: MetricValue | None, end: int) -> float:
    """One end of a score's 95% interval."""
    return math.nan if metric is None or metric.interval is None else metric.interval[end]


def _speeds(direction: str, timing: Timing | None) -> dict[str, float]:
    """Images/s: the median, and the quartiles, whose order turns round with the division."""
    speeds = (
        (timing.images_per_s, timing.batch / timing.q3_s, timing.batch / timing.q1_s)
        if timing
        else (math.nan,) * 3
    )
    return dict(zip((f"{direction}_ips{end}" for end in ("", "_q1", "_q3")), speeds, strict=True))


def _footnotes(result: Result) -> Iterator[Footnote]:
    for key, metric in sorted(result.metrics.items()):
        if metric.warning:
            yield Footnote(key, metric.warning)
        if metric.unavailable:
            yield Footnote(key, f"{key} is not available: {metric.unavailable}")
        if metric.infinite and metric.value is not None:
            yield Footnote(
                key,
                f"{metric.infinite} of {metric.n} images are identical to their originals and "
                f"left out of {key}",
            )
        if metric.n != result.data.n:
            yield Footnote(key, f"{key} is computed on {metric.n} of {result.data.n} images")
    if result.data.skipped:
        yield Footnote("label", f"{len(result.data.skipped)} images could not be decoded")
    if result.tokenizer.note:
        yield Footnote("label", result.tokenizer.note)
    for warning in result.warnings:
        yield Footnote("label", warning)
    if result.speed and result.speed.warning:
        yield Footnote("decode_ips", result.speed.warning)


def _sort_key(result: Result) -> tuple[Any, ...]:
    """Reconstructions first; numbers inside a label as numbers: steps=2 before steps=16."""
    pieces = re.split(r"(\d+)", result.tokenizer.label)
    natural = [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]
    return (
        _is_generation(result),
        result.resolution,
        str(result.protocol["id"]),
        result.data.name,
        natural,
        result.seed,
        result.fingerprint,
    )
