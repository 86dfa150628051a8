"""Model cards with the results of a tokenizer, for the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ssdd_bench.errors import OutputError, UnknownNameError, UserError, counted, one_line
from ssdd_bench.hub.remote import HubError, commit_files, ensure_repository, fetch_snapshot
from ssdd_bench.metrics.catalog import METRICS, sort_metrics
from ssdd_bench.protocols.standing import superseded_version
from ssdd_bench.report.tables.markdown import escape
from ssdd_bench.results.places import slug
from ssdd_bench.results.schema import Result, Timing

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

# Identifiers of the Hub among the licences of tokenizers; it refuses others.
LICENCES: Final = frozenset(
    {
        *("apache-2.0", "mit", "openrail", "openrail++", "creativeml-openrail-m"),
        *("cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "bsd-3-clause", "gpl-3.0"),
    }
)
README: Final = "README.md"
MARK: Final = "<!-- written by ssdd-bench card -->"
"""Last line of a card, which may be replaced by a later one."""
TASKS: Final = {
    False: ("image-to-image", "image reconstruction"),
    True: ("unconditional-image-generation", "image generation from latents"),
}
"""Task of the Hub and its name, by whether images were generated."""


def select_results(results: Sequence[Result], tokenizer: str) -> list[Result]:
    """Return the results of one tokenizer, which share their weights.

    Args:
        results: of any tokenizers.
        tokenizer: label with options, or else the id of a tokenizer with one set of weights.

    Raises:
        UnknownNameError: there is no such result.
        UserError: the id stands for several sets of weights.
    """
    found = [one for one in results if one.tokenizer.label == tokenizer]
    found = found or [one for one in results if one.tokenizer.id == tokenizer]
    labels = sorted({one.tokenizer.label for one in found or results})
    if not found:
        raise UnknownNameError("tokenizer of these results", tokenizer, labels)
    if len({tuple(sorted(one.tokenizer.weights.values())) for one in found}) > 1:
        raise UserError(
            f"'{tokenizer}' has several sets of weights here: give one of {', '.join(labels)}"
        )
    return found


def make_card(results: Sequence[Result], table: str = "") -> ModelCard:
    """Make a model card, whose metadata hold every score as ``model-index``.

    Args:
        results: of one tokenizer; see :func:`select_results`.
        table: Markdown that shows them.

    Returns:
        The card. Each metric has the resolution, the number of images, the protocol with its hash
        and the command in its ``args``.

    Examples:
        >>> from ssdd_bench.results.store import load_results
        >>> card = make_card(select_results(load_results(["results/mini"]), "ssdd"))
        >>> card.data.model_name
        'ssdd'
    """
    from huggingface_hub import ModelCard, ModelCardData

    first = results[0].tokenizer
    licence, name = _licence(first.licence)
    data = ModelCardData(
        license=licence,
        license_name=name,
        model_name=first.label,
        tags=["image-tokenizer", "ssdd-bench", slug(first.family).lower()],
        eval_results=[one for result in results for one in eval_results(result)],
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(results, table)}")


def eval_results(result: Result) -> Iterator[EvalResult]:
    """Yield the finite scores and the speeds of a result in the form of the Hub.

    Results of other images, another resolution or another protocol are other data sets there,
    since the Hub keeps one description per data set.
    """
    from huggingface_hub import EvalResult

    generated = result.generation is not None
    task, task_name = TASKS[generated]
    protocol = str(result.protocol["id"])
    former = superseded_version(result)
    job = {
        "resolution": result.resolution,
        "protocol": protocol,
        "protocol_sha256": str(result.protocol["sha256"]),
        "former_version": former and former.change,
        "numbers_version": result.numbers_version,
        "seed": result.seed,
        "images_sha256": result.data.pixels_sha256,
        "command": result.command,
    }

    config = f"{protocol}-{former.sha256[:8]}" if former else protocol

    def entry(key: str, name: str, value: float, args: dict[str, Any]) -> EvalResult:
        images = counted(result.data.n, "image")
        return EvalResult(
            task_type=task,
            task_name=task_name,
            dataset_type=slug(result.data.name),
            dataset_name=f"{result.data.name}, {images} at {result.resolution} px",
            dataset_config=f"{config}-{result.resolution}px",
            dataset_revision=result.data.pixels_sha256,
            metric_type=key,
            metric_name=name,
            metric_value=value,
            metric_args={key: value for key, value in args.items() if value is not None},
        )

    for key in sort_metrics(result.metrics):
        metric, info = result.metrics[key], METRICS.all().get(key)
        if metric.value is not None:
            args: dict[str, Any] = {"n": metric.n, **job, "backend": metric.backend or None}
            args["interval_95"] = metric.interval and list(metric.interval)
            yield entry(key, (info and info.name) or key, metric.value, args)
    for way in ("encode", "decode") if result.speed else ():
        timing: Timing = getattr(result.speed, way)
        execution = result.execution
        where = {"batch": timing.batch, "device": execution.device, "dtype": execution.dtype}
        name = f"images per second, {way}"
        yield entry(f"{way}_images_per_s", name, timing.images_per_s, {**where, **job})


def _licence(licence: str) -> tuple[str | None, str | None]:
    """Return the Hub's id of a licence, or "other" and a name; None where there is none."""
    if licence.lower() in LICENCES:
        return licence.lower(), None
    return ("other", slug(licence).lower()) if licence else (None, None)


def _text(results: Sequence[Result], table: str) -> str:
    """Write the body: description, table, and how the numbers were made."""
    first = results[0].tokenizer
    commands = dict.fromkeys(one.command for one in results if one.command)
    protocols = {str(one.protocol["sha256"]): _protocol(one) for one in results}
    weights = {name: value for one in results for name, value in one.tokenizer.weights.items()}
    note = f" {first.note[:1].upper()}{first.note[1:]}." if first.note else ""
    # Texts of a result may be others': each stays in its line, and none is HTML.
    label = one_line(first.label).replace("`", "")
    family, note = escape(first.family), escape(note)
    parts = [
        f"# {escape(first.title)}",
        f"An image tokenizer ({family}), measured by ssdd-bench as `{label}`.{note}",
        "## Results",
        table.strip(),
        "## Reproduce",
        "\n".join(f"    {one_line(command)}" for command in commands),
        "\n".join(f"- protocol {name}: sha256 `{sha}`" for sha, name in protocols.items()),
        "\n".join(f"- weights {escape(name)}: sha256 `{sha}`" for name, sha in weights.items()),
    ]
    return "\n\n".join(part for part in parts if part) + f"\n\n{MARK}\n"


def _protocol(result: Result) -> str:
    """Name the protocol of a result, and what a former version of it did otherwise."""
    former = superseded_version(result)
    name = str(result.protocol["id"])
    return f"{name} (former version: {former.change})" if former else name


def push_card(card: ModelCard, repo: str, pull_request: bool = False) -> str:
    """Upload a card as README.md of a model repository, which is created unless it exists.

    The Hub checks the card first.

    Args:
        card: from :func:`make_card`.
        repo: id such as ``someone/ssdd``.
        pull_request: True opens a pull request.

    Returns:
        URL of the commit or of the pull request.

    Raises:
        HubError: the repository has a README.md that is not from here, or see
            :func:`ssdd_bench.hub.remote.commit_files`.
    """
    ensure_repository(repo, "model")
    snapshot = fetch_snapshot(repo, lambda name: name == README, kind="model")
    own = [name for name in snapshot.names if not _is_card(snapshot.folder / name)]
    if (own or snapshot.large) and not pull_request:
        raise HubError(
            f"{repo} has a README.md of its own, which would be lost: open a pull request with "
            "--pull-request, and merge the two there"
        )
    content = {README: str(card).encode()}
    return commit_files(repo, "model", content, "Results", snapshot.commit, pull_request)


def _is_card(path: Path) -> bool:
    return MARK in path.read_text(encoding="utf-8", errors="replace")


def write_card(card: ModelCard, path: Path) -> Path:
    """Write a card atomically, over an earlier card and over no other file.

    Raises:
        OutputError: the file is there and is no card, or it cannot be written.
    """
    from ssdd_bench.results.files import write_text

    if path.is_file() and not _is_card(path):
        raise OutputError(
            f"{path} is not a card, and would be lost. Choose another file with --out"
        )
    return write_text(path, str(card))
