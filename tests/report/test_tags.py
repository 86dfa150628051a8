"""Scores by subject: right means over the right images, and honest about few of them."""

import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from ssdd_bench.cli import report
from ssdd_bench.errors import UserError
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.tables.latex import to_latex
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.report.tags import ALL, UNTAGGED, build_tag_tables, read_tags, split_by_tag
from ssdd_bench.results.store import load_results, save_result

MINI = Path(__file__).parents[2] / "results" / "mini"
SAMPLE_TAGS = Path(report.__file__).parents[1] / "data" / "sample" / "tags.toml"


@pytest.fixture(scope="module")
def frame():
    files = [path for name in ("klvae", "ssdd") for path in MINI.glob(f"{name}_*.json")]
    return load_source(files).frame


@pytest.fixture(scope="module")
def means(frame):
    return split_by_tag(frame, {"sample": read_tags(SAMPLE_TAGS)})


def mean(means, tag, label="ssdd", resolution=256, metric="psnr"):
    wanted = {"tag": tag, "label": label, "resolution": resolution, "metric": metric}
    (row,) = means[(means[list(wanted)] == pd.Series(wanted)).all(axis=1)].to_dict("records")
    return row


@pytest.mark.medium
def test_all_images_give_the_score_of_the_result(frame, means):
    for _, row in frame.iterrows():
        for metric in ("psnr", "ssim"):
            found = mean(means, ALL, row["label"], row["resolution"], metric)
            assert found["mean"] == pytest.approx(row[metric], abs=1e-9)
            assert found["n"] == row["n"]


def test_a_tag_is_the_mean_of_its_images_by_hand(frame, means):
    scores = frame[(frame["label"] == "ssdd") & (frame["resolution"] == 256)].iloc[0]["scores"]
    ids = ["astronaut.jpg", "mariachi-band.jpg", "opera-chorus.jpg"]
    expected = sum(scores["psnr"][one] for one in ids) / 3
    found = mean(means, "faces")
    assert (found["n"], found["mean"]) == (3, pytest.approx(expected))
    assert found["mean"] != pytest.approx(mean(means, ALL)["mean"], abs=0.1)
    assert UNTAGGED not in set(means["tag"])


def test_untagged_infinite_and_several_tags(frame):
    """A picture under two tags counts twice; a lossless one is no part of a mean."""
    one = frame.iloc[[0]].copy()
    scores = pd.Series([10.0, 20.0, math.inf, 40.0], index=["a", "b", "c", "d"])
    one["scores"] = [{"psnr": scores}]
    tags = {"a": ("x", "y"), "b": ("x",), "c": ("x", "z")}
    means = split_by_tag(one, {"sample": tags}).set_index("tag")
    assert means["n"].to_dict() == {ALL: 4, "x": 3, "y": 1, "z": 1, UNTAGGED: 1}
    assert means["infinite"].to_dict() == {ALL: 1, "x": 1, "y": 0, "z": 1, UNTAGGED: 0}
    assert means["mean"].to_dict() == {
        ALL: pytest.approx(70 / 3), "x": 15, "y": 10, "z": math.inf, UNTAGGED: 40
    }  # fmt: skip
    text = to_markdown(build_tag_tables(one, means.reset_index()))
    assert "| x @3<sup>1</sup> |" in text
    assert "| 15.00<sup>2</sup> |" in text
    assert "2. Images identical to their originals are left out of the mean." in text
    assert "| z @1<sup>1</sup> |" in text
    assert "| ∞ |" in text


@pytest.mark.medium
def test_few_images_are_marked_and_whole_sets_are_not_split(frame, means):
    tables = build_tag_tables(frame, means)
    assert len(tables) == 4  # two metrics at two resolutions
    assert len({table.name for table in tables}) == 4
    for table in tables:
        assert re.fullmatch(r"[A-Za-z0-9-]+", table.name)
        names, *tags = table.columns
        assert [cell.text for cell in names.cells] == ["klvae", "ssdd"]
        sizes = dict(column.heading.split(" @") for column in tags)
        marked = {column.heading.split(" @")[0] for column in tags if column.notes}
        assert marked == {tag for tag, n in sizes.items() if int(n) < 5}
        assert {"faces", "text", "food"} <= marked
        (remark,) = table.remarks
        assert "fd_effnet" in remark
    text = to_markdown(tables)
    psnr = tables[0].columns
    (column,) = (one for one in psnr if one.heading == "text @2")
    expected = [f"{mean(means, 'text', label)['mean']:.2f}" for label in ("klvae", "ssdd")]
    assert [cell.text for cell in column.cells] == expected
    assert "1. Fewer than 5 images" in text
    assert rf"\begin{{tabular}}{{l{'r' * (len(psnr) - 1)}}}" in to_latex(tables)


def test_results_without_single_scores_or_with_other_tags_say_so(frame):
    with pytest.raises(UserError, match="no image of these results has a tag"):
        split_by_tag(frame, {"sample": {"elsewhere.png": ("faces",)}})
    bare = frame.assign(scores=[{}] * len(frame))
    with pytest.raises(UserError, match="no image of these results has a tag"):
        split_by_tag(bare, {"sample": read_tags(SAMPLE_TAGS)})


@pytest.mark.parametrize("text", ['"a.png" = "faces"', '"a.png" = [1]', '"a.png" = [""]', "= 1"])
def test_a_wrong_file_is_named(tmp_path, text):
    path = tmp_path / "tags.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"tags\.toml"):
        read_tags(path)


def invoke(*arguments):
    done = CliRunner().invoke(report.command, list(map(str, arguments)))
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_report_finds_the_tags_of_a_named_set_and_takes_those_of_others(tmp_path):
    """And without --by-tag no table of an earlier report stays."""
    results = tmp_path / "results"
    (results / "scores").mkdir(parents=True)
    (result,) = load_results([next(MINI.glob("ssdd_256*.json"))])
    shutil.copy(MINI / result.scores, results / result.scores)
    save_result(result, results)
    out = tmp_path / "out"
    invoke(results, "--by-tag", "--out", out)
    assert "| animals @6 |" in (out / "by-tag.md").read_text("utf-8")
    page = (out / "index.html").read_text("utf-8")
    assert "<summary>PSNR by tag, 256 px" in page
    assert 'href="#by-tag"' in page
    assert pd.read_csv(out / "by-tag.csv")["tag"].nunique() == 15

    save_result(replace(result, data=replace(result.data, name="photos")), results)
    with pytest.raises(UserError, match="the images of photos: give --tags FILE"):
        invoke(results, "--by-tag", "--out", out)
    tags = tmp_path / "tags.toml"
    tags.write_text('"otter.jpg" = ["wet"]\n"jetty.jpg" = ["wet"]\n')
    invoke(results, "--tags", tags, "--out", out)
    text = (out / "by-tag.md").read_text("utf-8")
    assert "| wet @2<sup>1</sup> |" in text
    assert "| (no tag) @33 |" in text
    invoke(results, "--out", out)
    assert not list(out.glob("by-tag.*"))
    assert "by-tag" not in (out / "index.html").read_text("utf-8")


def test_committed_results_have_tags_for_every_image():
    source = load_source([MINI])
    tags = read_tags(SAMPLE_TAGS)
    for scores in source.frame["scores"]:
        assert set(scores["psnr"].index) == set(tags)
