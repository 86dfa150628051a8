"""Groups of rows that may be compared, the names of their rows and their machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

SAME_IMAGES: Final = ["protocol", "data", "n"]  # at any resolution
MACHINE: Final = ["device", "threads", "dtype"]


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: same images, same crops, same protocol, same resolution."""

    resolution: int
    protocol: str
    data: str
    n: int
    rows: pd.DataFrame

    @property
    def size(self) -> str:
        """Size of the images."""
        return f"{self.resolution} × {self.resolution} px"

    @property
    def title(self) -> str:
        """Size, protocol and set of images."""
        return f"{self.size}, {self.protocol}, {self.data}"


def comparable_groups(frame: pd.DataFrame) -> Iterator[Group]:
    """Split a frame into the groups whose numbers may stand in one table or one panel."""
    for rows in split(frame, ["resolution", *SAME_IMAGES, "data_sha256"]):
        first = rows.iloc[0]
        yield Group(
            int(first["resolution"]), first["protocol"], first["data"], int(first["n"]), rows
        )


def split(frame: pd.DataFrame, keys: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows that share the values of ``keys``, in order of first appearance."""
    for index in frame.groupby(list(keys), sort=False, dropna=False).groups.values():
        yield frame.loc[index]


def row_names(rows: pd.DataFrame) -> pd.Series[str]:
    """Name rows by label, and by seed, machine or fingerprint where one label repeats.

    The names are unique among rows of one resolution and set of images.
    """
    keys = ["resolution", "data_sha256", "name"]
    named = rows.assign(name=rows["label"])
    for column, form in (("seed", "seed {}"), ("device", "{}"), ("fingerprint", "{:.6}")):
        if not named.duplicated(keys).any():
            break
        for name in set(named.loc[named.duplicated(keys), "name"]):
            mine = named["name"] == name
            if named.loc[mine, column].nunique() > 1:
                tails = named.loc[mine, column].map(form.format)
                named.loc[mine, "name"] = name + " (" + tails + ")"
    counts = named.groupby(keys).cumcount()
    return named["name"].where(counts == 0, named["name"] + " #" + (counts + 1).astype(str))


def describe_hardware(rows: pd.DataFrame) -> list[str]:
    """List the distinct machine settings that the speeds of these rows were measured on."""
    timed = rows[rows["decode_ips"].notna()]
    distinct = timed[MACHINE].drop_duplicates()
    return [
        f"{device}, {threads} thread{'s' if threads != 1 else ''}, {dtype}"
        for device, threads, dtype in distinct.itertuples(index=False)
    ]
