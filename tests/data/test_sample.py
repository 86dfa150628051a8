"""The sample photographs: complete, credited, unchanged, and varied enough to be worth running."""

from __future__ import annotations

import hashlib
import itertools
import tomllib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from ssdd_bench.data.sample import SAMPLE_DIR
from ssdd_bench.report.tags import TAGS_FILE, read_tags

LICENCES = {
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "LicenseRef-public-domain",
}
SOURCES = tomllib.loads((SAMPLE_DIR / "SOURCES.toml").read_text(encoding="utf-8"))
KEYS = {"title", "author", "licence", "source", "changes", "sha256"}


@pytest.fixture(scope="module")
def thumbnails() -> dict[str, np.ndarray]:
    thumbs = {}
    for name in SOURCES:
        with Image.open(SAMPLE_DIR / name) as image:
            thumbs[name] = np.asarray(image.resize((32, 32)), dtype=np.float64)
    return thumbs


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_every_photograph_has_a_source_and_every_source_a_photograph() -> None:
    files = {path.name for path in SAMPLE_DIR.iterdir() if path.suffix == ".jpg"}
    assert sorted(files) == list(SOURCES)
    assert len(files) >= 24
    notes = {".meta", ".spans"}  # of `make mutate`, beside a copy of the code
    names = {p.name for p in SAMPLE_DIR.iterdir() if p.is_file() and p.suffix not in notes}
    other = names - files
    assert other == {"README.md", "SOURCES.toml", "__init__.py", "tags.toml"}


def test_set_stays_small_enough_to_ship() -> None:
    assert sum(p.stat().st_size for p in SAMPLE_DIR.iterdir() if p.is_file()) < 8_000_000


@pytest.mark.parametrize("name", SOURCES)
def test_file_is_the_one_described(name: str) -> None:
    source = SOURCES[name]
    assert hashlib.sha256((SAMPLE_DIR / name).read_bytes()).hexdigest() == source["sha256"]
    assert source["licence"] in LICENCES
    assert source.keys() | {"url"} == KEYS | {"url"}
    assert all(text == text.strip() != "" for text in source.values())
    assert source.get("url", "https://").startswith(("http://", "https://"))


@pytest.mark.parametrize("name", SOURCES)
def test_photograph_is_plain_srgb_and_large_enough(name: str) -> None:
    with Image.open(SAMPLE_DIR / name) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert min(image.size) >= 512
        assert not image.getexif()
        assert {"icc_profile", "comment"}.isdisjoint(image.info)
        changes = SOURCES[name]["changes"]
        assert f"resized to {image.width}x{image.height}" in changes or "resized" not in changes
        image.load()


@pytest.mark.medium
def test_photographs_are_in_colour(thumbnails: dict[str, np.ndarray]) -> None:
    for name, pixels in thumbnails.items():
        spread = pixels.max(axis=2) - pixels.min(axis=2)
        assert spread.max() > 25, f"{name} is grey"


@pytest.mark.medium
def test_no_photograph_comes_twice(thumbnails: dict[str, np.ndarray]) -> None:
    for first, second in itertools.combinations(thumbnails, 2):
        assert correlation(thumbnails[first], thumbnails[second]) < 0.98, f"{first} and {second}"


def test_a_second_copy_would_be_noticed(thumbnails: dict[str, np.ndarray]) -> None:
    with Image.open(SAMPLE_DIR / "osprey.jpg") as image:
        again = image.crop((4, 4, image.width - 4, image.height - 4)).resize((32, 32))
    copy = np.asarray(again, dtype=np.float64)
    assert correlation(copy, thumbnails["osprey.jpg"]) > 0.98


def test_all_wanted_subjects_are_shown() -> None:
    tags = read_tags(SAMPLE_DIR / TAGS_FILE)
    assert tags.keys() == SOURCES.keys()
    assert min(map(len, tags.values())) > 0
    counts = Counter(tag for own in tags.values() for tag in own)
    assert min(counts.values()) >= 2
    assert set(counts) >= {"animals", "faces", "people", "text", "texture", "lines", "night"}


def test_readme_counts_licences() -> None:
    text = (SAMPLE_DIR / "README.md").read_text(encoding="utf-8")
    counts = Counter(source["licence"] for source in SOURCES.values())
    assert f"\n{len(SOURCES)} colour photographs" in text
    for licence, count in counts.items():
        assert f"\n| {licence} | {count} |" in text
