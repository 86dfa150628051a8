"""Mini weights: small trained networks that lie in a plugin's folder."""

from __future__ import annotations

from pathlib import Path

from ssdd_bench.errors import OptionError

DEFAULT_F = 8  # pixels per latent cell along one side


def choose_weights(plugin: Path, f: int, given: str) -> Path:
    """Return the path of the user's file, or of a plugin's mini weights.

    Args:
        plugin: the plugin's folder, with whose name the files begin.
        f: pixels per latent cell of the mini weights; ``DEFAULT_F`` beside a file.
        given: path of the user's file; empty for the mini weights.

    Raises:
        OptionError: both a file and another ``f`` were given.
    """
    if not given:
        return plugin / "weights" / f"{plugin.name}-mini-f{f}c4.safetensors"
    if f != DEFAULT_F:
        raise OptionError(
            f"{plugin.name}: f={f} chooses among the mini weights, but {given} has its own f. "
            "Leave one of the two out"
        )
    return Path(given).expanduser()
