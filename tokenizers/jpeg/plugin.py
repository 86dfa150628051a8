"""Adapter: Pillow's JPEG encoder."""

from __future__ import annotations

from ssdd_bench.plugins.adapters.pillow import PillowCodec


def load(quality: int, subsampling: str) -> PillowCodec:
    """Make the codec; the manifest explains the options."""
    parameters = {"quality": quality, "subsampling": subsampling}
    return PillowCodec("JPEG", parameters, libraries=("jpg", "libjpeg_turbo"))
