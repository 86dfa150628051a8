"""Colours of tokenizers and of everything else that is drawn."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

# Hues of Okabe and Ito, told apart by every kind of colour vision; yellow is too pale on white.
HUES: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FAMILY_COLORS: Final = {
    "kl-vae": "#0072B2",
    "diffusion decoder": "#D55E00",
    "tiny autoencoder": "#009E73",
    "deep compression": "#CC79A7",
    "vq": "#E69F00",
    "representation autoencoder": "#56B4E9",
    "codec": "#7F7F7F",
    "control": "#B0B0B0",
}
"""Colours by the family that a result records. A family that is not here takes one of ``HUES`` by
its name."""
SHADES: Final = (("#FFFFFF", 0.0), ("#FFFFFF", 0.4), ("#000000", 0.3))  # mixed in, how much
INK: Final = "#1B1F23"
GREY: Final = "#666666"
GRID: Final = "#EBEBEB"
SHADE: Final = "#F3F3F3"  # area behind the front
PAPER: Final = "#FFFFFF"  # around marks


@dataclass(frozen=True)
class Palette:
    """One colour for each tokenizer, the same in every figure of every report.

    The hue comes from the family that the results record, the shade from the tokenizer's id, so
    that neither depends on what else a report shows. Other ids may share hue and shade.

    Attributes:
        family_of: recorded family by id of the tokenizer, in the order of the legend.
    """

    family_of: Mapping[str, str]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Palette:
        """Collect the tokenizers of a frame, by family, baselines last."""
        from ssdd_bench.report.ranking import is_baseline  # drawing goes without pandas

        baselines = is_baseline(frame)
        rows = sorted(zip(baselines, frame["family"], frame["id"], strict=True))
        return cls({name: family for _, family, name in rows})

    @property
    def families(self) -> tuple[str, ...]:
        """Ids of the tokenizers."""
        return tuple(self.family_of)

    def color(self, family: str) -> str:
        """Return the colour of a tokenizer; grey if it is not one of the palette."""
        if family not in self.family_of:
            return GREY
        name = self.family_of[family]
        hue = FAMILY_COLORS.get(name) or HUES[_number(name) % len(HUES)]
        other, share = SHADES[_number(family) % len(SHADES)]
        mixed = (
            round((1 - share) * int(hue[i : i + 2], 16) + share * int(other[i : i + 2], 16))
            for i in (1, 3, 5)
        )
        return "#" + "".join(f"{one:02X}" for one in mixed)

    def marker(self, family: str, marker: str, *, front: bool = False) -> dict[str, Any]:
        """Return the style of a tokenizer's marker, with a dark edge for those on a front."""
        return {
            "color": self.color(family),
            "marker": marker,
            "markersize": 7,
            "markeredgecolor": INK if front else PAPER,
            "markeredgewidth": 1.3 if front else 0.8,
            "linestyle": "none",
        }


def _number(text: str) -> int:
    """Hash a text, alike on every machine."""
    return zlib.crc32(text.encode())
