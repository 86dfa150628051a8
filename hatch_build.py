"""Build hook: put the plugin folders of ``tokenizers/`` into the wheel, under ssdd_bench.

An editable install needs nothing of this: there the plugins are imported from the checkout.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "tokenizers"
TARGET = "ssdd_bench/tokenizers"
# Hatchling's force_include takes what it is given, .gitignore or not: hence this list, and git's.
SUFFIXES = {".py", ".toml", ".md", ".safetensors", ".json"}


class PluginsHook(BuildHookInterface[Any]):
    """Found by hatchling as the only hook of this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files of a standard wheel; ``version`` is ``editable`` for the other kind."""
        if version == "editable":
            return
        root = Path(self.root)
        files = [file for file in _list_files(root) if file.suffix in SUFFIXES]
        if not any(file.name == "tokenizer.toml" for file in files):
            raise FileNotFoundError(
                f"no tokenizers to build in {root / FOLDER}: are they committed?"
            )
        for file in files:
            target = Path(TARGET, file.relative_to(FOLDER))
            build_data["force_include"][str(root / file)] = target.as_posix()


def _list_files(root: Path) -> list[Path]:
    """Files of the plugins, relative to ``root``: in a checkout those that git tracks."""
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(root), "ls-files", "-z", "--", FOLDER]
        listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        files = [Path(name) for name in listed.split("\0") if name]
        return [file for file in files if (root / file).is_file()]
    # A source distribution, which was made from a checkout.
    found = sorted(path for path in (root / FOLDER).rglob("*") if path.is_file())
    return [path.relative_to(root) for path in found]
