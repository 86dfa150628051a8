"""Scores by subject: means over the images that share a tag.

Tags stand in a file beside the images: ``"a/name.jpg" = ["faces", "text"]``, one line an image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Final

import pandas as pd

from ssdd_bench.errors import UserError
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import comparable_groups, row_names
from ssdd_bench.report.tables.columns import format_metric, metric_name
from ssdd_bench.report.tables.model import Table, name_of
from ssdd_bench.results.records import Rule, read_record, read_toml

TAGS_FILE: Final = "tags.toml"
ALL: Final = "(all)"
UNTAGGED: Final = "(no tag)"
WORD: Final = Rule("a word", bool)
FEW: Final = 5  # images under which a mean is marked

Tags = Mapping[str, tuple[str, ...]]  # by id of image
TagsOfSets = Mapping[str, Tags]  # by name of the set of images


def read_tags(path: Path) -> Tags:
    """Read a file of tags.

    Raises:
        UserError: it cannot be read, or an image's tags are no list of words.
    """
    return read_record(dict[str, tuple[Annotated[str, WORD], ...]], read_toml(path), str(path))


def split_by_tag(frame: pd.DataFrame, tags: TagsOfSets) -> pd.DataFrame:
    """Average the scores of single images over the images of each tag.

    An image counts under each of its tags. Scores of whole sets, such as Fréchet distances, have
    no parts and are left out.

    Returns:
        A row per result, tag and metric: resolution, protocol, data, fingerprint, label, seed,
        metric, tag (or :data:`ALL`, :data:`UNTAGGED`), n, infinite (images identical to their
        originals, left out of the mean) and mean (``inf`` where every image is identical).

    Raises:
        UserError: no image with scores has a tag.
    """
    keys = ["resolution", "protocol", "data", "fingerprint", "label", "seed"]
    rows = []
    for result in frame[frame["data"].isin(tags)].to_dict("records"):
        own = {key: result[key] for key in keys}
        for metric, scores in result["scores"].items():
            for tag, values in _by_tag(scores.dropna(), tags[result["data"]]):
                infinite = int(values.isin([math.inf, -math.inf]).sum())
                finite = values[values.map(math.isfinite)]
                mean = finite.mean() if len(finite) else values.mean()
                one = {"metric": metric, "tag": tag, "n": len(values), "infinite": infinite}
                rows.append({**own, **one, "mean": mean})
    if {row["tag"] for row in rows} <= {ALL, UNTAGGED}:
        raise UserError(
            "no image of these results has a tag: either its scores (scores/*.parquet) are gone, "
            "or the tags are of other images"
        )
    return pd.DataFrame(rows).drop_duplicates([*keys, "metric", "tag"])


def build_tag_tables(frame: pd.DataFrame, means: pd.DataFrame) -> list[Table]:
    """Build the tables of :func:`split_by_tag`, by images and metric, a column per tag."""
    few = f"Fewer than {FEW} images: a mean of so few says little about the subject."
    same = "Images identical to their originals are left out of the mean."
    tables = []
    for group in comparable_groups(frame):
        names = dict(zip(group.rows["fingerprint"], row_names(group.rows), strict=True))
        mine = means[means["resolution"] == group.resolution]
        mine = mine[mine["fingerprint"].isin(names)]
        measured = {
            key: higher
            for key, higher in metric_directions(frame).items()
            if group.rows[key].notna().any()
        }
        split = [key for key in measured if key in set(mine["metric"])]
        left_out = ", ".join(metric_name(key) for key in measured if key not in split)
        for metric in split:
            where = f"{group.resolution} px, {group.protocol}, {group.data}"
            title = f"{metric_name(metric)} by tag, {where}"
            better = "higher" if measured[metric] else "lower"
            caption = (
                f"{group.data}: mean over the images of each tag, {better} is better. The number "
                "of images follows the tag. An image counts under each of its tags."
            )
            table = Table(title, caption, name_of(title, group.n), kind="tags")
            rows = mine[mine["metric"] == metric]
            sizes = rows.groupby("tag", sort=False)["n"].max()
            table.add("tokenizer", names.values(), numeric=False)
            for tag, n in sizes.items():
                own = rows[rows["tag"] == tag].set_index("fingerprint").reindex(list(names))
                texts = (format_metric(metric, value) for value in own["mean"])
                partly = own["infinite"].between(1, own["n"] - 1)
                notes = ([same] if one else [] for one in partly)
                shared = [few] if n < FEW else []
                lower = not measured[metric]
                table.add(f"{tag} @{n}", texts, notes, shared, lower_is_better=lower)
            if left_out:
                table.remarks.append(f"Not split, since they are scores of whole sets: {left_out}.")
            tables.append(table)
    return tables


def _by_tag(scores: pd.Series[float], tags: Tags) -> Iterator[tuple[str, pd.Series[float]]]:
    """Yield all scores, those of each tag in alphabetical order, and those without a tag."""
    own = [tags.get(image_id, ()) for image_id in scores.index]
    yield ALL, scores
    for tag in sorted(set(chain(*own))):
        yield tag, scores[[tag in one for one in own]]
    if not all(own):
        yield UNTAGGED, scores[[not one for one in own]]
