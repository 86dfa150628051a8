"""Names of jobs and failures, and the hash of a set of images."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError
from ssdd_bench.evaluation.job import Failure, Job, data_fingerprint
from ssdd_bench.launch.tasks import Problem
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.protocols.registry import get_protocol


def test_a_name_has_the_seed_if_it_is_not_zero() -> None:
    (request,) = parse_requests("jpeg:quality=5")
    protocol = get_protocol("ldm-v1")
    assert Job(request, 64, protocol).name == "jpeg:quality=5 at 64 px, ldm-v1"
    assert Job(request, 64, protocol, 2).name == "jpeg:quality=5 at 64 px, ldm-v1, seed 2"


def test_a_failure_is_a_line() -> None:
    problem = Problem.of(DataError("no image"))
    assert str(Failure("jpeg", 2, problem)) == f"jpeg: {problem}"


@dataclass
class Grey(ImageSource):
    """Images 3 x 2 of one level each; a negative level cannot be read."""

    levels: list[int]
    max_mb: int = MAX_IMAGE_MB
    read_ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ids = tuple(f"{i:02d}" for i in range(len(self.levels)))

    def read(self, image_id: str) -> Image.Image:
        self.read_ids.append(image_id)
        if (level := self.levels[int(image_id)]) < 0:
            raise DataError("truncated")
        return Image.fromarray(np.full((2, 3, 3), level, np.uint8))


def sha256(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("count", "probed"),
    [
        (1, [0]),
        (8, range(8)),
        (15, range(8)),
        (16, range(0, 16, 2)),
        (27, range(0, 24, 3)),
    ],
)
def test_ids_and_the_pixels_of_eight_images_are_hashed(count: int, probed: list[int]) -> None:
    source = Grey([level if level != 2 else -1 for level in range(count)])
    pixels = [
        "cannot be decoded" if i == 2 else f"3x2 {hashlib.sha256(bytes([i] * 18)).hexdigest()}"
        for i in probed
    ]
    expected = {"ids": list(source.ids), "pixels": pixels}
    assert data_fingerprint(source) == sha256(expected)
    assert source.read_ids == [f"{i:02d}" for i in probed]


def test_another_limit_of_memory_is_another_set() -> None:
    source = Grey([0], max_mb=5)
    pixels = [f"3x2 {hashlib.sha256(bytes(18)).hexdigest()}"]
    assert data_fingerprint(source) == sha256({"ids": ["00"], "pixels": pixels, "max_image_mb": 5})
