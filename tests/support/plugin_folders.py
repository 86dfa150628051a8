"""Plugins of tokenizers in a folder."""

from pathlib import Path


def write_plugin(folder: Path, name: str, manifest: str, code: str) -> Path:
    """Write a plugin into a folder for SSDD_BENCH_TOKENIZERS; return that folder."""
    plugin = folder / name
    plugin.mkdir(parents=True)
    (plugin / "tokenizer.toml").write_text(manifest)
    (plugin / "plugin.py").write_text(code)
    (plugin / "__init__.py").write_text("")
    return folder
