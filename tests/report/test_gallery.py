"""Saved crops in the page: where they lie, how many, and which images are the best and worst."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.report import gallery
from ssdd_bench.report.gallery import build_sets, copy_to, embed, find_extremes, link_from
from ssdd_bench.report.loading import load_source

Write = Callable[..., Path]
SCORES = {
    "ssdd": [30.0, 22.0, 21.0, 20.0],
    "klvae": [31.0, 21.0, 20.5, 10.0],
    "jpeg:quality=50": [29.0, 25.0, 28.0, 10.0],
}


def test_images_are_those_that_the_run_saved(write_run: Write) -> None:
    folder = write_run(SCORES)
    (one,) = build_sets(load_source([folder]))
    assert [photo.name for photo in one.photos] == ["photo-0.jpg", "photo-1.jpg", "photo-2.jpg"]
    assert [list(photo.reconstructions) for photo in one.photos] == [sorted(SCORES)] * 3
    (mine,) = (folder / "samples").glob("klvae*")
    shown = one.photos[1].reconstructions["klvae"].split(",")[1]
    assert base64.b64decode(shown) == (mine / "001.webp").read_bytes()
    assert one.photos[1].scores["klvae"]["psnr"] == (21.0, 2)


@pytest.mark.medium
def test_images_stop_at_the_budget(write_run: Write) -> None:
    source = load_source([write_run(SCORES)])
    (whole,) = build_sets(source)
    photo = whole.photos[0]
    size = len(photo.reference) + sum(map(len, photo.reconstructions.values()))
    (one,) = build_sets(source, budget=int(1.5 * size))
    assert (len(one.photos), one.saved) == (1, 3)


@pytest.mark.medium
def test_images_that_have_no_room_are_not_read(write_run: Write) -> None:
    source = load_source([write_run({f"a:width={i}": [30.0, 31.0, 32.0] for i in range(20)})])
    (whole,) = build_sets(source)
    read = []

    def place(path: Path) -> str:
        read.append(path)
        return embed(path)

    assert build_sets(source, place, budget=3 * len(whole.photos[0].reference)) == []
    assert len(read) < 10


def test_crops_are_copied_beside_the_page(write_run: Write, tmp_path: Path) -> None:
    folder, out = write_run(SCORES), tmp_path / "report"
    (one,) = build_sets(load_source([folder]), copy_to(out), None)
    for photo in one.photos:
        for address in (photo.reference, *photo.reconstructions.values()):
            assert address.startswith("samples/")
            assert (out / address).read_bytes() == (folder / address).read_bytes()
    assert len({photo.reference for photo in one.photos}) == 3


def test_a_report_in_the_folder_of_its_run_copies_nothing(write_run: Write) -> None:
    folder = write_run(SCORES)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.webp")}
    (one,) = build_sets(load_source([folder]), copy_to(folder), None)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.webp")} == before
    assert (folder / one.photos[0].reference).is_file()


def test_links_lead_from_the_page_to_the_run(write_run: Write, tmp_path: Path) -> None:
    folder, out = write_run(SCORES), tmp_path / "deep" / "report"
    (one,) = build_sets(load_source([folder]), link_from(out), None)
    address = one.photos[2].reconstructions["ssdd"]
    assert address.startswith("../../runs/samples/ssdd")
    assert (out / address).resolve().is_file()
    assert not out.exists()


def test_a_crop_that_is_gone_is_named(write_run: Write) -> None:
    folder = write_run(SCORES)
    source = load_source([folder])
    (mine,) = (folder / "samples").glob("klvae*")
    (mine / "000.webp").unlink()
    with pytest.raises(UserError, match=r"000\.webp"):
        build_sets(source)


@pytest.mark.medium
def test_images_are_ranked_by_the_lead_over_the_others(write_run: Write) -> None:
    """Photo 3 would be the worst of ssdd by its score alone; paired, it is the best."""
    source = load_source([write_run(SCORES)])
    source.frame.loc[source.frame["label"].str.startswith("jpeg"), "role"] = "codec"
    extremes = find_extremes(source, build_sets(source))
    assert {one.tokenizer for one in extremes} == {"klvae", "ssdd"}  # codecs have no list
    ssdd = next(one for one in extremes if one.tokenizer == "ssdd")
    assert min(range(4), key=lambda i: SCORES["ssdd"][i]) == 3
    assert [image["image"] for image in ssdd.best] == ["photo-3.jpg", "photo-1.jpg"]
    assert [image["image"] for image in ssdd.worst] == ["photo-0.jpg", "photo-2.jpg"]
    assert [image["difference"] for image in ssdd.best] == [10.0, 1.0]  # klvae alone
    assert ssdd.best[0]["photo"] is None  # only three images were saved
    assert ssdd.worst[0]["photo"] == 0


@pytest.mark.medium
def test_the_others_have_the_same_compression_rate(write_run: Write) -> None:
    scores = {"ssdd": [24.0, 28.0], "klvae": [20.0, 20.0], "diffusion": [1.0, 9.0]}
    source = load_source([write_run(scores, saved=1)])
    for frame in (source.frame, source.pooled):
        frame.loc[frame["label"] == "diffusion", ["f", "floats_per_pixel"]] = 16, 0.01
    found = {one.tokenizer: one for one in find_extremes(source, build_sets(source))}
    assert [image["difference"] for image in found["ssdd"].best] == [8.0]
    assert [image["difference"] for image in found["klvae"].best] == [-4.0]
    (alone,) = found["diffusion"].best
    assert (alone["score"], alone["difference"]) == (9.0, None)


@pytest.mark.medium
def test_seeds_are_ranked_by_their_mean_and_the_first_is_shown(write_run: Write) -> None:
    """A tokenizer is none of the others of itself: its seeds would halve every difference."""
    seeds = {"ssdd": [24.0, 28.0, 30.0, 22.0], "klvae": [20.0, 20.0, 20.0, 20.0]}
    folders = [write_run(seeds, name="first")]
    folders.append(write_run(seeds | {"ssdd": [26.0, 30.0, 32.0, 20.0]}, name="second", seed=1))
    source = load_source(folders)
    (one,) = sets = build_sets(source)
    assert {"ssdd (seed 0)", "ssdd (seed 1)"} <= one.photos[0].reconstructions.keys()
    ssdd, klvae = (find_extremes(source, sets)[place] for place in (1, 0))
    assert (ssdd.tokenizer, ssdd.crops) == ("ssdd", "ssdd (seed 0)")
    assert [image["score"] for image in ssdd.best] == [31.0, 29.0]
    assert [image["difference"] for image in ssdd.best] == [11.0, 9.0]
    assert (klvae.tokenizer, klvae.crops) == ("klvae", "klvae (seed 0)")


@pytest.mark.medium
def test_codecs_are_ranked_where_nothing_else_is(write_run: Write) -> None:
    source = load_source([write_run({"jpeg": [30.0, 20.0], "webp": [20.0, 30.0]}, saved=1)])
    source.frame["role"] = "codec"
    found = find_extremes(source, build_sets(source))
    assert {one.tokenizer for one in found} == {"jpeg", "webp"}


def scores_of(*values: float, first: int = 0) -> pd.Series[float]:
    return pd.Series(values, [f"{first + index}" for index in range(len(values))], dtype=float)


def test_the_mean_over_others_is_theirs_image_by_image() -> None:
    scores = {
        "a": scores_of(1.0, 2.0, 3.0),
        "b": scores_of(0.1, 0.2, 0.3),
        "infinite": scores_of(1.0, math.inf, 1.0),
        "c": scores_of(0.7, 0.9, 1.7),
        "shifted": scores_of(5.0, 6.0, 7.0, first=1),
    }
    means = gallery._means_of_others(scores)
    for name, mine in scores.items():
        finite = [
            each.reindex(mine.index)
            for other, each in scores.items()
            if other not in (name, "infinite")
        ]
        expected = sum(finite[1:], finite[0]) / len(finite)
        np.testing.assert_array_equal(means[name].reindex(mine.index), expected)
    pair = {name: scores[name] for name in ("a", "infinite")}
    assert gallery._means_of_others(pair).keys() == {"infinite"}
