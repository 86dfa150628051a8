"""The frame: result records as one tidy table, which all tables and figures are made from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, Self

import pandas as pd

from ssdd_bench.errors import UnknownNameError, UserError, counted
from ssdd_bench.metrics.catalog import sort_metrics
from ssdd_bench.protocols.standing import former_version, standing_of, superseded_version
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import GenerationRecord, MetricValue, Result, SpeedRecord, Timing

_METRICS = "higher_is_better"  # key of DataFrame.attrs; survives filters and sorting
_INTEGERS = (
    *("f", "channels", "tokens", "steps", "sampling_steps", "threads", "batch"),
    "peak_memory_bytes",
)
_FLOATS = (
    *("floats_per_pixel", "bits_per_pixel", "gmac_model", "gmac_decode"),
    *("decode_ms", "decode_ratio", "decode_ratio_low", "decode_ratio_high"),
    *("fidelity_psnr", "fidelity_difference"),
)

Scores = Mapping[str, "pd.Series[float]"]  # by metric: the score of each image, by id


class Footnote(NamedTuple):
    """Remark about one value or one row."""

    column: str  # a metric's key, ``decode_ips`` for timings, or ``label`` for the whole row
    text: str


def to_frame(results: Sequence[Result], scores: Sequence[Scores] = ()) -> pd.DataFrame:
    """Lay out results, one row each, sorted by resolution and then by label.

    Args:
        results: at least one.
        scores: of single images, for each result; may be empty.

    Returns:
        A frame with these columns: label, tokenizer (the label without the model that generated
        latents), network (the same of all numbers of decoder steps: ``d:f=16`` of
        ``d:f=16,steps=4``), id, title, family, role, stochastic (the decoder draws noise), model,
        sampler, sampling_steps, guidance (of generated latents), resolution, protocol, standing
        (a value of :class:`ssdd_bench.protocols.standing.Standing`), f, channels,
        latent ("32x32x4": height, width, channels; "32x16": tokens in a row, channels), tokens,
        floats_per_pixel, bits_per_pixel, steps, n, one per metric (``inf`` where every image is
        identical to its original, NaN where unavailable), METRIC_low and METRIC_high (95%
        intervals), WAY_ips, WAY_ips_q1 and WAY_ips_q3 (images/s of model, encode and decode:
        median and quartiles), params_encoder, params_decoder, gmac_model,
        gmac_decode, peak_memory_bytes, peak_memory_kind, device, threads, dtype, compile,
        cuda_graphs, memory_format, batch (of decode), decode_ms (for one image per call),
        decode_ratio with decode_ratio_low and decode_ratio_high (images/s over those of
        decode_baseline, timed by turns, and its 95% interval), fidelity_psnr and
        fidelity_difference (of decoded images from those in float32; ``inf`` and 0 where they are
        equal), seed, data, data_sha256, note, kind ("reconstruction" or "generation"), identity
        (hash of the tokenizer's options and weights and of the model that generated),
        fingerprint, footnotes (tuple of Footnote), scores (see ``Scores``).

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
                    f"metric '{key}' is better higher in one result and better lower in another: "
                    "measure both again with one version of ssdd-bench"
                )
    metrics = sort_metrics(directions)
    protocols = protocol_names(results)
    triples = zip(results, scores or [{}] * len(results), protocols, strict=True)
    ordered = sorted(triples, key=lambda triple: _sort_key(triple[0]))
    frame = pd.DataFrame(
        [
            {**_row(one, metrics), "protocol": protocol, "scores": found}
            for one, found, protocol in ordered
        ]
    )
    frame = frame.astype(
        dict.fromkeys(_INTEGERS, "Int64") | dict.fromkeys([*metrics, *_FLOATS], "float64")
    )
    # Texts as Python has them, as in pandas 2: those of Arrow are dear to take one by one.
    texts = [key for key in frame if isinstance(frame[key].dtype, pd.StringDtype)]
    frame = frame.astype(dict.fromkeys(texts, object))
    frame.attrs[_METRICS] = _Shared(directions)
    return frame


def protocol_names(results: Sequence[Result]) -> list[str]:
    """Name each result's protocol, so that equal names mean comparable results.

    A former version of a protocol is named as such: "gfid-v1 (former 6c2d51a3)". Where one id has
    several other hashes, or its results several versions of our numbers, these follow:
    "default-v1 (09e2e4f9)", "default-v1, numbers 4". Versions that are not recorded add nothing.
    """
    hashes: dict[str, set[str]] = {}
    versions: dict[str, set[int]] = {}
    for one in results:
        if not superseded_version(one):
            hashes.setdefault(str(one.protocol["id"]), set()).add(str(one.protocol.get("sha256")))
        known = [] if one.numbers_version is None else [one.numbers_version]
        versions.setdefault(str(one.protocol["id"]), set()).update(known)
    names = []
    for one in results:
        name = key = str(one.protocol["id"])
        beginning = str(one.protocol.get("sha256"))[:8]
        if superseded_version(one):
            name += f" (former {beginning})"
        elif len(hashes[key]) > 1:
            name += f" ({beginning})"
        if len(versions[key]) > 1:
            version = "not recorded" if one.numbers_version is None else one.numbers_version
            name += f", numbers {version}"
        names.append(name)
    return names


def to_csv(frame: pd.DataFrame) -> str:
    """Write every column of the frame; footnotes become one column of text."""
    notes = ["; ".join(note.text for note in notes) for notes in frame["footnotes"]]
    plain = frame.drop(columns=["footnotes", "scores"])
    return plain.assign(footnotes=notes).to_csv(index=False)


def to_records(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the known values of each row for JSON, by index; infinity is the text "inf"."""
    long = ["footnotes", "scores", "fingerprints"]
    rows = frame.drop(columns=long, errors="ignore").astype(object)
    records = rows.where(rows.notna(), None).to_dict("index")
    notes = [list(dict.fromkeys(note.text for note in notes)) for notes in frame["footnotes"]]
    return {
        str(index): {
            **{str(key): _plain(one) for key, one in row.items() if one not in (None, "")},
            "footnotes": texts,
        }
        for (index, row), texts in zip(records.items(), notes, strict=True)
    }


def _plain(value: Any) -> Any:
    """Turn values of numpy and infinity into those that JSON has."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, tuple):
        return list(value)
    number = float(value)
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    return int(number) if number.is_integer() else number


class _Shared(dict[str, bool]):
    """Attributes of a frame that its copies share: pandas copies others with every row it takes."""

    def __deepcopy__(self, _: Any) -> Self:
        return self


def metric_directions(frame: pd.DataFrame) -> dict[str, bool]:
    """Return the metric columns of a frame and whether more is better, in column order."""
    directions: dict[str, bool] = frame.attrs[_METRICS]
    return {key: directions[key] for key in frame.columns if key in directions}


def default_metric(frame: pd.DataFrame) -> str | None:
    """Return the first metric column that holds values; None if there is none.

    Columns have the catalogue's order: FID and LPIPS, which papers print, then PSNR and SSIM,
    which need no weights, then Fréchet distances of our own features.
    """
    keys = metric_directions(frame)
    return next((key for key in keys if frame[key].notna().any()), None)


def check_metric(frame: pd.DataFrame, metric: str) -> None:
    """Raise an error that names the known metrics if no result holds this one."""
    if metric not in metric_directions(frame):
        raise UnknownNameError("metric", metric, metric_directions(frame))


def _row(result: Result, metrics: list[str]) -> dict[str, Any]:
    tokenizer, latent, data, speed = result.tokenizer, result.latent, result.data, result.speed
    shape, generation = latent.shape, result.generation
    cells = () if shape is None else shape[1:] if latent.f else shape[2:]
    model = generation.model_time if generation else None
    spec = tokenizer.label.partition(f" + {generation.model}")[0] if generation else ""
    spec = spec or tokenizer.label
    # Unusual settings of execution follow the options: "ssdd:steps=2 (bfloat16)".
    unusual = f" ({result.execution.suffix})" if result.execution.suffix else ""
    plain = spec.removesuffix(unusual)
    network = _without(plain, f"steps={tokenizer.options.get('steps')}") + spec[len(plain) :]
    decode = speed.decode if speed else generation.decoder_time if generation else None
    machine = result.execution if decode else None
    return {
        "label": tokenizer.label,
        "tokenizer": spec,
        "network": network + tokenizer.label.removeprefix(spec),
        **_pick(tokenizer, "id", "title", "family", "role", "stochastic"),
        **_pick(generation, "model", "sampler", missing=""),
        "sampling_steps": generation.steps if generation else None,
        "guidance": _guidance(generation, latent.channels) if generation else "",
        "resolution": result.resolution,
        "protocol": "",  # named when all results are known
        "standing": standing_of(result).value,
        **_pick(latent, "f", "channels"),
        "latent": "x".join(map(str, (*cells, shape[0]))) if shape else latent.kind,
        **_pick(latent, "tokens", "floats_per_pixel", "bits_per_pixel"),
        "steps": result.steps,
        "n": data.n,
        **{key: _value(result.metrics.get(key)) for key in metrics},
        **{
            f"{key}_{name}": end
            for key in metrics
            for name, end in zip(("low", "high"), _interval(result.metrics.get(key)), strict=True)
        },
        **_speeds("model", model),
        **_speeds("encode", speed.encode if speed else None),
        **_speeds("decode", decode),
        **_pick(tokenizer, "params_encoder", "params_decoder"),
        "gmac_model": model.gmac_per_image if model else None,
        "gmac_decode": decode.gmac_per_image if decode else None,
        **_pick(decode, "peak_memory_bytes"),
        **_pick(decode, "peak_memory_kind", missing=""),
        **_pick(machine, "device", missing=""),
        **_pick(speed if speed and speed.threads else machine, "threads"),
        **_pick(machine, "dtype", "compile", missing=""),
        **_pick(machine, "cuda_graphs", missing=False),
        **_pick(machine, "memory_format", missing=""),
        **_pick(decode, "batch"),
        **_speed_details(speed),
        "seed": result.seed,
        "data": data.name,
        "data_sha256": data.pixels_sha256,
        "note": tokenizer.note,
        "kind": "generation" if is_generation(result) else "reconstruction",
        "identity": _identity(result),
        "fingerprint": result.fingerprint,
        "footnotes": tuple(_footnotes(result)),
    }


def _pick(record: object, *names: str, missing: object = None) -> dict[str, Any]:
    """Return the fields of a record under their own names."""
    return {name: missing if record is None else getattr(record, name) for name in names}


def _without(spec: str, option: str) -> str:
    """Leave one option out of a tokenizer's spec."""
    name, _, options = spec.partition(":")
    kept = ",".join(one for one in options.split(",") if one != option)
    return f"{name}:{kept}" if kept else name


def _guidance(made: GenerationRecord, channels: int) -> str:
    """Write the scale of guidance, with its interval and channels where these are not all."""
    text = f"{made.guidance_scale:g}"
    if made.guidance_scale != 1:
        low, high = made.guidance_interval
        text += f" in {low:g} to {high:g}" if (low, high) != (0.0, 1.0) else ""
        guided = made.guided_channels
        text += f" on {counted(guided, 'channel')}" if guided != channels else ""
    return text


def _identity(result: Result) -> str:
    """Hash what was measured, without label, images, protocol and seed."""
    one, made = result.tokenizer, result.generation
    how = {} if made is None else asdict(made) | dict.fromkeys(("model_time", "decoder_time"))
    return fingerprint([one.id, one.options, one.version, one.weights, result.steps, how])


def is_generation(result: Result) -> bool:
    """Return True for scores of generated images."""
    return result.generation is not None or result.protocol.get("kind") == "generation"


def _value(metric: MetricValue | None) -> float:
    if metric is None or metric.value is None:
        return math.inf if metric and metric.infinite else math.nan
    return metric.value


def _interval(metric: MetricValue | None) -> tuple[float, float]:
    return (metric and metric.interval) or (math.nan, math.nan)


def _speeds(way: str, timing: Timing | None) -> dict[str, float]:
    """Convert to images/s: median and quartiles, whose order the division reverses."""
    speeds = [math.nan] * 3
    if timing:
        speeds = [timing.images_per_s, timing.batch / timing.q3_s, timing.batch / timing.q1_s]
    return {f"{way}_ips{end}": speed for end, speed in zip(("", "_q1", "_q3"), speeds, strict=True)}


def _speed_details(speed: SpeedRecord | None) -> dict[str, Any]:
    """Return the latency, the ratio to a baseline, and the difference from float32."""
    latency = low = high = math.nan
    if speed:
        single = speed.decode_single or (speed.decode if speed.decode.batch == 1 else None)
        latency = 1000 * single.median_s if single else math.nan
    against = speed.comparison if speed else None
    if against:
        low, high = against.interval
    fidelity = speed.fidelity if speed else None
    psnr = math.nan
    if fidelity:
        psnr = math.inf if fidelity.psnr is None else fidelity.psnr
    return {
        "decode_ms": latency,
        "decode_ratio": against.ratio if against else math.nan,
        "decode_ratio_low": low,
        "decode_ratio_high": high,
        "decode_baseline": against.baseline if against else "",
        "fidelity_psnr": psnr,
        "fidelity_difference": fidelity.max_difference if fidelity else math.nan,
    }


def _footnotes(result: Result) -> Iterator[Footnote]:
    for key, metric in sorted(result.metrics.items()):
        if metric.warning:
            yield Footnote(key, metric.warning)
        if metric.unavailable:
            yield Footnote(key, f"{key} is not available: {metric.unavailable}")
        if metric.infinite and metric.value is not None:
            same = f"{metric.infinite} of {metric.n} images are identical to their originals"
            yield Footnote(key, f"{same} and left out of {key}")
        if metric.n != result.data.n:
            yield Footnote(key, f"{key} is computed on {metric.n} of {result.data.n} images")
    for text in (former_version(result), result.tokenizer.note, *result.warnings):
        if text:
            yield Footnote("label", text)
    if result.speed and result.speed.warning:
        yield Footnote("decode_ips", result.speed.warning)


def _sort_key(result: Result) -> tuple[Any, ...]:
    """Order reconstructions first, and numbers in labels as numbers: steps=2 before steps=16."""
    pieces = re.split(r"(\d+)", result.tokenizer.label)
    natural = [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]
    return (
        is_generation(result),
        result.resolution,
        str(result.protocol["id"]),
        result.data.name,
        natural,
        result.seed,
        result.fingerprint,
    )
