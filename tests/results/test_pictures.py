"""Crops beside results."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssdd_bench.errors import UserError
from ssdd_bench.results.pictures import (
    LOSSLESS,
    find_pictures,
    is_lossless,
    read_picture,
    save_pictures,
)
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import load_results

FIXTURE = Path(__file__).parents[1] / "fixtures" / "result.json"
RAMP = np.linspace(0, 255, 64, dtype=np.uint8)
REFERENCES = np.broadcast_to(RAMP[None, None, :, None], (3, 64, 64, 3)).copy()


def result_of(pixels: str = "a" * 64) -> Result:
    (one,) = load_results([FIXTURE])
    return replace(one, data=replace(one.data, pixels_sha256=pixels))


@pytest.mark.parametrize(("quality", "worst"), [(LOSSLESS, 0.0), (65, 6.0)])
def test_crops_are_the_pixels_or_near_to_them(tmp_path: Path, quality: int, worst: float) -> None:
    file, result = tmp_path / "ssdd.json", result_of()
    saved = save_pictures(file, result, REFERENCES, 255 - REFERENCES, quality)
    assert find_pictures(file, result) == saved
    assert len(saved) == 3
    for paths, pixels in ((saved.references, RAMP), (saved.reconstructions, 255 - RAMP)):
        found = read_picture(paths[1]).astype(float)
        assert found.shape == (64, 64, 3)
        error = np.abs(found - pixels[None, :, None]).mean()
        assert bool(error > 0) is (quality != LOSSLESS)
        assert error <= worst
        assert is_lossless(paths[0]) is (quality == LOSSLESS)


def test_a_picture_of_any_mode_is_read_as_rgb(tmp_path: Path) -> None:
    Image.new("L", (2, 3), 7).save(tmp_path / "grey.png")
    assert np.array_equal(read_picture(tmp_path / "grey.png"), np.full((3, 2, 3), 7))


def test_results_on_the_same_crops_share_their_references(tmp_path: Path) -> None:
    first, second = (
        save_pictures(tmp_path / f"{name}.json", result_of(), REFERENCES, REFERENCES)
        for name in ("a", "b")
    )
    other = save_pictures(tmp_path / "c.json", result_of("b" * 64), REFERENCES, REFERENCES)
    assert first.references == second.references
    assert first.references != other.references
    assert not {*first.reconstructions} & {*second.reconstructions}


def test_only_images_with_both_crops_are_found(tmp_path: Path) -> None:
    file, result = tmp_path / "ssdd.json", result_of()
    assert find_pictures(file, result) is None
    saved = save_pictures(file, result, REFERENCES, REFERENCES)
    saved.reconstructions[2].unlink()
    found = find_pictures(file, result)
    assert found is not None
    assert (len(found), found.references) == (2, saved.references[:2])


def test_damaged_crops_are_named(tmp_path: Path) -> None:
    path = tmp_path / "000.webp"
    path.write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"000\.webp"):
        read_picture(path)


def test_references_that_are_there_stay_and_reconstructions_do_not(tmp_path: Path) -> None:
    file, result = tmp_path / "ssdd.json", result_of()
    save_pictures(file, result, REFERENCES, REFERENCES)
    saved = save_pictures(file, result, 255 - REFERENCES, 255 - REFERENCES)
    np.testing.assert_array_equal(read_picture(saved.references[0]), REFERENCES[0])
    np.testing.assert_array_equal(read_picture(saved.reconstructions[0]), 255 - REFERENCES[0])
