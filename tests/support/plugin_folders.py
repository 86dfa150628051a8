"""Plugins of tokenizers in a folder, and distributions with entry points."""

from pathlib import Path


def write_plugin(folder: Path, name: str, manifest: str, code: str) -> Path:
    """Write a plugin into a folder for SSDD_BENCH_TOKENIZERS; return that folder."""
    plugin = folder / name
    plugin.mkdir(parents=True)
    (plugin / "tokenizer.toml").write_text(manifest)
    (plugin / "plugin.py").write_text(code)
    (plugin / "__init__.py").write_text("")
    return folder


def install_distribution(site: Path, name: str, group: str, points: dict[str, str]) -> None:
    """Write what an installer leaves of a distribution with entry points."""
    folder = site / f"{name}-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    lines = [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
