"""Adapter: Pillow's WebP encoder."""

from __future__ import annotations

from ssdd_bench.plugins.adapters.pillow import PillowCodec


def load(quality: int, lossless: bool, method: int) -> PillowCodec:
    """Make the codec; the manifest explains the options."""
    parameters = {"quality": quality, "lossless": lossless, "method": method}
    return PillowCodec("WEBP", parameters, libraries=("webp",))
