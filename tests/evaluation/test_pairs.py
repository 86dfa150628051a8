"""Pairs of images that were made elsewhere: exact scores, and how they are paired."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from ssdd_bench.data.memory import MemoryImages
from ssdd_bench.errors import DataError, UnavailableError
from ssdd_bench.evaluation import chunks
from ssdd_bench.evaluation import pairs as module
from ssdd_bench.evaluation.chunks import PixelDigest
from ssdd_bench.evaluation.environment import describe_execution
from ssdd_bench.evaluation.loading import describe_external
from ssdd_bench.evaluation.pairs import evaluate_pairs, match
from ssdd_bench.metrics.features.cache import pixel_hashes
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import DataRecord, LatentRecord

PROTOCOL = get_protocol("ldm-v1")


def levels(found: Mapping[str, int], side: int = 16, name: str = "memory") -> MemoryImages:
    """Images of one level each."""
    images = {one: torch.full((3, side, side), level, dtype=torch.uint8) for one, level in
              found.items()}  # fmt: skip
    source = MemoryImages(images)
    source.name = name
    return source


REFERENCES = {f"{i}.png": i for i in range(10)}
RECONSTRUCTIONS = {f"{i}.webp": 2 * i for i in reversed(range(10))}


def score(*sides: Any, **more: Any) -> Any:
    return evaluate_pairs(*sides, metrics=more.pop("metrics", ("mse",)), progress=False,
                          device="cpu", **more)  # fmt: skip


def digest(images: Mapping[str, int], ids: Mapping[str, int]) -> str:
    found = PixelDigest()
    rows = [torch.full((3, 16, 16), level, dtype=torch.uint8) for level in images.values()]
    found.update([*ids], pixel_hashes(torch.stack(rows)))
    return found.hexdigest()


@pytest.mark.medium
@pytest.mark.parametrize("smallest", [4, 64])
def test_every_field_of_a_result(monkeypatch: pytest.MonkeyPatch, smallest: int) -> None:
    monkeypatch.setattr(chunks, "SMALLEST", smallest)
    found = score(
        levels(REFERENCES, name="photos"), levels(RECONSTRUCTIONS, name="mine"),
        protocol="ldm-v1", command="typed",
    )  # fmt: skip
    squares = {f"{i}.png": (i / 255) ** 2 for i in range(10)}
    assert found.per_image == {"mse": pytest.approx(squares, rel=1e-6)}
    assert found.metrics["mse"].value == pytest.approx(sum(squares.values()) / 10, rel=1e-6)
    assert found.metrics["mse"].n == 10
    assert found.tokenizer == describe_external("reconstructions", "mine", stochastic=False)
    assert (found.resolution, found.protocol) == (16, PROTOCOL.record())
    assert (found.seed, found.steps, found.speed) == (0, None, None)
    assert found.latent == LatentRecord("unknown", 0, 0, None, None, None, None)
    theirs = {f"{i}.png": 2 * i for i in range(10)}
    pixels = digest(REFERENCES, REFERENCES), digest(theirs, REFERENCES)
    assert found.data == DataRecord("photos", 10, fingerprint([*REFERENCES]), pixels[0])
    assert found.fingerprint == fingerprint([*pixels, PROTOCOL.sha256])
    assert found.execution == describe_execution(torch.device("cpu"))
    assert (found.command, found.warnings) == ("typed", ())
    assert found.seconds > 0
    assert found.examples.ids == tuple(REFERENCES)[:8]
    assert found.examples.references[:, 0, 0, 0].tolist() == [*range(8)]
    assert found.examples.reconstructions[:, 0, 0, 0].tolist() == [*range(0, 16, 2)]
    labelled = score(levels(REFERENCES), levels(RECONSTRUCTIONS), label="named", protocol=PROTOCOL)
    assert labelled.tokenizer.label == "named"


def test_scores_of_a_gpu_are_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 3, 16, 16)
    settings: Any = {"metrics": ["mse"], "progress": False, "device": "cpu"}
    found = evaluate_pairs(images, images, **settings)
    with monkeypatch.context() as gpu:
        gpu.setattr("ssdd_bench.evaluation.environment.device_name", lambda device: "a GPU")
        assert evaluate_pairs(images, images, **settings).fingerprint != found.fingerprint
    assert evaluate_pairs(images, images, **settings).fingerprint == found.fingerprint


def test_references_are_cropped_to_a_resolution() -> None:
    images = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    images[..., 4:12, 4:12] = 200  # the middle, which a crop alone would keep
    large, small = {"a": images[0]}, {"a": torch.zeros(3, 8, 8, dtype=torch.uint8)}
    found = score(MemoryImages(large), MemoryImages(small), resolution=8)
    assert found.resolution == 8
    assert found.data.pixels_sha256 != found.fingerprint
    source = MemoryImages(large)
    cropped = module.CROPS["adm"](source.read("a"), 8)
    mean = ((torch.from_numpy(cropped.copy()).double() / 255) ** 2).mean().item()
    assert found.metrics["mse"].value == pytest.approx(mean, rel=1e-6)
    with pytest.raises(DataError, match=r"a has 16 x 16 px, expected 8 x 8"):
        score(MemoryImages(large), MemoryImages(small))


def test_images_that_are_not_square() -> None:
    wide = MemoryImages({"a": torch.zeros(3, 8, 12, dtype=torch.uint8)})
    with pytest.raises(DataError, match=r"a has 12 x 8 px, expected 8 x 8"):
        score(wide, wide)


@pytest.mark.medium
def test_what_is_asked_for_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    suite = module.MetricSuite

    def make(*arguments: Any, **more: Any) -> Any:
        made.append((arguments[0], *arguments[2:], more))
        return suite(*arguments, **more)

    monkeypatch.setattr(module, "MetricSuite", make)
    options = PROTOCOL.metric_options
    for intervals in (True, False):
        score(levels(REFERENCES), levels(RECONSTRUCTIONS), protocol=PROTOCOL, intervals=intervals)
        assert made == [
            (("mse",), PROTOCOL.metric_batch, options, False, intervals, {"expected": 10} | more)
            for more in ({}, {"only_merges": True})
        ]
        made.clear()
    short = replace(PROTOCOL, metrics=("mae", "mse"))
    assert [*score(levels(REFERENCES), levels(RECONSTRUCTIONS), metrics=None,
                   protocol=short).metrics] == ["mae", "mse"]  # fmt: skip


def test_a_metric_that_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("SSDD_BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    images = levels({"a": 1, "b": 2})
    assert score(images, images, metrics="rfid").metrics["rfid"].unavailable
    with pytest.raises(UnavailableError):
        score(images, images, metrics="rfid", strict=True)


def source(*ids: str, numbered: bool = False) -> MemoryImages:
    return MemoryImages(dict.fromkeys(ids), numbered)


def test_images_are_paired_by_name_or_by_place() -> None:
    ours = source("b/x.png", "a.y.png")
    assert match(ours, source("a.y.jpg", "b/x.webp")) == [
        ("a.y.png", "a.y.jpg"),
        ("b/x.png", "b/x.webp"),
    ]
    rows = source("0", "1", numbered=True)
    # Positions are those of the list that was given, whose ids are sorted.
    assert match(source("b", "a"), rows) == [("b", "0"), ("a", "1")]
    assert match(ours, rows) == [("b/x.png", "0"), ("a.y.png", "1")]
    assert match(rows, ours) == [("0", "b/x.png"), ("1", "a.y.png")]
    assert match(rows, source("1", "0", numbered=True)) == [("0", "0"), ("1", "1")]


@pytest.mark.parametrize(
    ("ours", "theirs", "named"),
    [
        (source("a", "b"), source("0", numbered=True), "2 images and mine 1"),
        (source("a.png", "a.jpg"), source("a", "b"), "photos .* 'a'"),
        (source("a", "b"), source("a.png", "a.jpg"), "mine .* 'a'"),
        (source("a", "b", "c"), source("a"), "2 have no counterpart, first 'b' in photos"),
        (source("a"), source("a", "c"), "1 have no counterpart, first 'c' in mine"),
    ],
)
def test_sets_that_do_not_match(ours: MemoryImages, theirs: MemoryImages, named: str) -> None:
    ours.name, theirs.name = "photos", "mine"
    with pytest.raises(DataError, match=named):
        match(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs", "resolution", "named"),
    [
        ("a.png", "a.webp", None, []),
        ("a.png", "a.JPG", None, ["reconstructions"]),
        ("a.jpeg", "a.png", None, ["references"]),
        ("a.jpeg", "a.png", 16, []),
        ("a.jpeg", "a.jpg", None, ["reconstructions", "references"]),
        ("a.jpeg", "a.jpg", 16, ["reconstructions"]),
    ],
)
def test_lossy_files_are_noted(
    ours: str, theirs: str, resolution: int | None, named: list[str]
) -> None:
    found = score(levels({ours: 1}), levels({theirs: 1}), resolution=resolution)
    assert len(found.warnings) == len(named)
    assert all(what in text for what, text in zip(named, found.warnings, strict=True))
