"""The result of one cell of a run (tokenizer x resolution x protocol), as a versioned JSON file.

A report reads nothing else. Imports no torch.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
import types
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ssdd_bench.errors import OutputError, UserError
from ssdd_bench.files import write_atomically

SCHEMA_VERSION = 3

# The key is the version a function reads; it returns the data of the next version. A change of
# the fields below raises SCHEMA_VERSION and adds one entry.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    # Intervals of scores, and scores of single images in a file of their own.
    1: lambda data: {
        **data,
        "scores": "",
        "metrics": {
            key: {**metric, "interval": None, "interval_method": "", "extra": {}}
            for key, metric in data.get("metrics", {}).items()
        },
    },
    # Images drawn by a model of latents.
    2: lambda data: {**data, "generation": None},
}

Record = TypeVar("Record")


@dataclass(frozen=True)
class TokenizerRecord:
    """Which tokenizer was measured, down to the bytes of its weights."""

    label: str  # canonical spec, e.g. "ssdd" or "jpeg:quality=50": defaults are left out
    id: str
    options: dict[str, Any]  # every option, defaults included
    title: str
    family: str
    licence: str
    version: str  # adapter version from the manifest
    note: str  # e.g. "mini weights, trained on 720 photographs"
    stochastic: bool
    weights: dict[str, str]  # file name -> sha256
    params_encoder: int
    params_decoder: int
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LatentRecord:
    """How much the latent holds at this resolution."""

    kind: str
    f: int
    channels: int
    shape: tuple[int, int, int] | None  # (c, h, w); None for byte streams
    tokens: int | None  # h * w
    floats_per_pixel: float | None  # continuous latents
    bits_per_pixel: float | None  # discrete latents and byte streams (mean over the set)


@dataclass(frozen=True)
class DataRecord:
    """Which images were read, so that two results are compared only on the same ones."""

    name: str
    n: int
    ids_sha256: str  # ordered ids
    pixels_sha256: str  # the uint8 crops, in order
    skipped: tuple[str, ...] = ()  # ids that could not be decoded


@dataclass(frozen=True)
class MetricValue:
    """One score. ``value`` is None where the metric is infinite or could not be had.

    The interval holds 95% of what other images of the same kind would give; it says nothing
    about other seeds of a stochastic decoder.
    """

    value: float | None
    n: int
    higher_is_better: bool
    backend: str  # library and version, and the weights' sha256 prefix where there are any
    infinite: int = 0  # images whose score is infinite, left out of the mean
    warning: str = ""  # shown as a footnote
    unavailable: str = ""  # reason and fix; then value is None
    interval: tuple[float, float] | None = None  # 95%
    interval_method: str = ""
    extra: dict[str, float] = field(default_factory=dict)  # e.g. {"fd_infinity": 0.41}


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one direction; images/s is batch / median."""

    median_s: float
    q1_s: float
    q3_s: float
    repeats: int
    warmup: int
    batch: int
    images_per_s: float
    gmac_per_image: float | None  # convolutions and matrix products; None for codecs
    peak_memory_bytes: int | None
    peak_memory_kind: str  # "cuda allocated", "process resident", ...


@dataclass(frozen=True)
class SpeedRecord:
    """Encode and decode timed apart, with what they depend on."""

    encode: Timing
    decode: Timing
    device: str
    threads: int
    dtype: str
    warning: str = ""  # e.g. other load on the machine


@dataclass(frozen=True)
class GenerationRecord:
    """How images were drawn by a model of latents, and how long that took."""

    model: str  # e.g. "DiT-XL/2"
    weights: dict[str, str]  # file name -> sha256
    params: int
    objective: str  # "flow" or "ddpm"
    sampler: str
    steps: int
    evaluations: int  # of the network per image, those of guidance included
    guidance_scale: float  # 1: none
    guidance_interval: tuple[float, float]  # times, 1 is noise
    guided_channels: int
    labels: str  # "equal" or "random"
    classes: int
    statistics: str  # how latents are scaled for the model
    model_time: Timing | None
    decoder_time: Timing | None
    training: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Everything about one measured cell."""

    tokenizer: TokenizerRecord
    resolution: int
    protocol: dict[str, Any]  # {"id": "default-v1", "sha256": ..., and every knob}
    seed: int
    steps: int | None
    latent: LatentRecord
    data: DataRecord
    metrics: dict[str, MetricValue]
    speed: SpeedRecord | None
    environment: dict[str, Any]
    command: str
    created: str  # ISO 8601, UTC
    seconds: float
    fingerprint: str  # hash of whatever decides the numbers; also in the file name
    warnings: tuple[str, ...] = ()
    scores: str = ""  # Parquet file with a row per image, beside the result; may be gone
    generation: GenerationRecord | None = None  # None for reconstructions
    status: Literal["ok"] = "ok"
    schema_version: int = SCHEMA_VERSION


def to_json(result: Result) -> dict[str, Any]:
    """Turn a result into what its file holds: plain dicts, lists, strings and numbers.

    Raises:
        OutputError: a number is NaN or infinite (JSON has neither); names the key.
    """
    plain = asdict(result)
    if key := _find_non_finite(plain):
        raise OutputError(
            f"result of '{result.tokenizer.label}' at {result.resolution} px holds a NaN or "
            f"infinite number at '{key}': nothing was written; an infinite score is stored as "
            "null with its 'infinite' count"
        )
    return cast(dict[str, Any], json.loads(json.dumps(plain, allow_nan=False)))


def from_json(data: Any, source: Path | str) -> Result:
    """Rebuild a result, bringing older files to the present schema first.

    Args:
        data: the parsed file.
        source: the file's name, for messages.

    Raises:
        UserError: the version is unknown, or a key is unknown, missing or of the wrong type.
    """
    if not isinstance(data, dict):
        raise UserError(f"{source}: not a result file (expected a JSON object)")
    version = data.get("schema_version")
    if type(version) is not int:
        raise UserError(f"{source}: not a result file (no integer key 'schema_version')")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{source}: key 'schema_version' is {version} and this ssdd-bench reads up to "
            f"{SCHEMA_VERSION}: update ssdd-bench"
        )
    while version < SCHEMA_VERSION:
        if version not in MIGRATIONS:
            raise UserError(
                f"{source}: key 'schema_version' is {version}, which this ssdd-bench cannot "
                "read any more: measure again"
            )
        data = MIGRATIONS[version](data)
        version += 1
        data = {**data, "schema_version": version}
    return read_record(Result, data, str(source))


def result_path(
    folder: Path, label: str, resolution: int, protocol_id: str, fingerprint: str
) -> Path:
    """Name a cell's file so that any label is safe and equal fingerprints meet in one file."""
    name = f"{_slug(label)}_{resolution}_{_slug(protocol_id)}_{_slug(fingerprint)[:10]}.json"
    return Path(folder) / name


def save_result(result: Result, folder: Path) -> Path:
    """Write a result so that its file is either whole or absent, whatever happens meanwhile.

    Returns:
        The file, named by :func:`result_path`; an older file of that name is replaced.

    Raises:
        OutputError: the folder cannot be written, or a number is NaN or infinite.
    """
    text = json.dumps(to_json(result), indent=2, sort_keys=True, allow_nan=False) + "\n"
    path = result_path(
        folder,
        result.tokenizer.label,
        result.resolution,
        str(result.protocol["id"]),
        result.fingerprint,
    )
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))
    return path


def find_results(paths: Iterable[Path | str]) -> list[Path]:
    """List result files, given themselves or by folder (``*.json``), each once.

    Where a folder holds none itself, those one level below count; ``published`` holds no results.

    Returns:
        The files in the order of their names.

    Raises:
        UserError: a path is missing, or a folder holds no result.
    """
    files: set[Path] = set()
    for path in map(Path, paths):
        if path.is_dir():
            below = [one for one in path.glob("*/*.json") if one.parent.name != "published"]
            found = [
                file for file in list(path.glob("*.json")) or below if not file.name.startswith(".")
            ]
            if not found:
                raise UserError(f"{path}: no result files (*.json) in this folder")
            files.update(found)
        elif path.exists():
            files.add(path)
        else:
            raise UserError(f"{path}: no such result file or folder")
    unique = {file.resolve(): file for file in sorted(files, key=str)}
    return sorted(unique.values(), key=lambda file: (file.name, str(file)))


def load_results(paths: Iterable[Path | str]) -> list[Result]:
    """Read result files and folders of them, see :func:`find_results`.

    Raises:
        UserError: a path is missing, a folder holds no result, or a file is damaged.
    """
    return [from_json(read_json(file), file) for file in find_results(paths)]


def read_toml(path: Path, what: str = "") -> dict[str, Any]:
    """Parse one TOML file.

    Args:
        path: of the file.
        what: kind of file, for messages, such as ``recipe``.

    Raises:
        UserError: the file cannot be read or is not valid TOML; names it.
    """
    name = f"{what} {path}" if what else str(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{name}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: {error}") from error


def read_json(path: Path) -> Any:
    """Parse one JSON file strictly: NaN, Infinity and repeated keys are errors.

    Raises:
        UserError: the file cannot be read or is not valid JSON; names it.
    """
    try:
        return json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_repeats,
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # also malformed UTF-8
        raise UserError(f"{path}: damaged JSON ({error}): delete the file and measure again") from (
            error
        )


def read_record(kind: type[Record], data: Any, source: str, where: str = "") -> Record:
    """Build a dataclass from JSON data whose keys and types must match it exactly.

    Args:
        kind: a dataclass; nested dataclasses, tuples, dicts and unions are followed.
        data: what the JSON file holds at this place.
        source: the file's name, for messages.
        where: dotted path of keys down to this place, for messages.

    Raises:
        UserError: a key is unknown, missing or of the wrong type.
    """
    return cast(Record, _read(kind, data, source, where))


def _read(kind: Any, data: Any, source: str, where: str) -> Any:
    """Convert ``data`` to the annotated type ``kind`` or say what does not fit."""
    if kind is Any:
        return data
    if is_dataclass(kind):
        return _read_dataclass(cast(type[Any], kind), data, source, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):  # in this package always ``X | None``
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if data is None else _read(inner, data, source, where)
    if origin is Literal and data in arguments:
        return data
    if origin is dict and isinstance(data, dict):
        return {
            key: _read(arguments[1], value, source, _join(where, key))
            for key, value in data.items()
        }
    if origin is tuple and isinstance(data, list):
        variadic = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = arguments[:1] * len(data) if variadic else arguments
        if len(kinds) == len(data):
            return tuple(
                _read(inner, value, source, f"{where}[{index}]")
                for index, (inner, value) in enumerate(zip(kinds, data, strict=True))
            )
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is kind:
        return data
    expected = kind.__name__ if isinstance(kind, type) and origin is None else str(kind)
    raise UserError(f"{source}: key '{where}' must be {expected}, not {_shorten(data)}")


def _read_dataclass(kind: type[Any], data: Any, source: str, where: str) -> Any:
    if not isinstance(data, dict):
        raise UserError(f"{source}: key '{where}' must be an object, not {_shorten(data)}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for word, keys in (
        ("unknown", sorted(set(data) - set(names))),
        ("missing", [name for name in names if name not in data]),
    ):
        if keys:
            raise UserError(f"{source}: {word} key '{_join(where, keys[0])}'")
    return kind(
        **{name: _read(hints[name], data[name], source, _join(where, name)) for name in names}
    )


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shorten(data: Any) -> str:
    text = json.dumps(data)
    return text if len(text) <= 40 else text[:37] + "..."


def _slug(text: str) -> str:
    """Keep letters, digits and dots of a label: safe as a file name on every system."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:80] or "unnamed"


def _find_non_finite(data: Any, where: str = "") -> str:
    """Return the dotted key of the first NaN or infinite number, or an empty string."""
    if isinstance(data, float):
        return "" if math.isfinite(data) else where
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, dict):
        children = data.items()
    elif isinstance(data, list | tuple):
        children = enumerate(data)
    for key, value in children:
        if found := _find_non_finite(value, _join(where, str(key))):
            return found
    return ""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key '{next(key for key in keys if keys.count(key) > 1)}' twice")
    return data
