"""The synthetic images: those that the script beside this file makes, and tagged."""

import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ssdd_bench.data.images import open_images
from ssdd_bench.data.named import DATA_SETS
from ssdd_bench.report.tags import TAGS_FILE, read_tags


@pytest.fixture(scope="module")
def folder() -> Path:
    return DATA_SETS.all()["sample-synthetic"].require()


@pytest.mark.medium
def test_pictures_are_those_that_the_script_draws(folder: Path) -> None:
    """Another version of Pillow may set letters a little otherwise; another drawing is far off."""
    draw_all = runpy.run_path(str(Path(__file__).with_name("make_synthetic.py")))["draw_all"]
    made = {name: np.asarray(image, float) for name, image in draw_all().items()}
    source = open_images("sample-synthetic")
    assert set(source.ids) == made.keys()
    for name, expected in made.items():
        pixels = np.asarray(source.read(name), float)
        assert pixels.shape == (512, 512, 3)
        assert abs(pixels - expected).mean() < 4, name
    first, second = (np.asarray(source.read(name), float) for name in ("book.png", "columns.png"))
    assert abs(first - second).mean() > 20


def test_each_is_tagged_and_no_tag_has_too_few(folder: Path) -> None:
    tags = read_tags(folder / TAGS_FILE)
    assert tags.keys() == {path.name for path in folder.glob("*.png")}
    counts = Counter(tag for own in tags.values() for tag in own)
    assert counts == {"text": 7, "line-art": 6}
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 700_000
