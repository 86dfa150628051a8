"""Commands that install optional dependencies, for the place that this package came from."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

NAME: Final = "ssdd-bench"


def install_command(extra: str) -> str:
    """Return the command that adds an extra's packages to this installation.

    A checkout, a git repository and a file install again from there; an installation from an index
    goes by its name.

    Args:
        extra: a key of ``[project.optional-dependencies]`` in pyproject.toml, such as ``train``.

    Returns:
        One line for a shell, such as ``pip install '.[train]'`` in the folder of the checkout.

    Examples:
        >>> install_command("train").startswith("pip install ")
        True
    """
    return command_for(extra, _origin(), Path(__file__).parents[1])


def command_for(extra: str, origin: dict[str, Any] | None, parent: Path) -> str:
    """Return the command for a recorded origin.

    Args:
        extra: as for :func:`install_command`.
        origin: what PEP 610 records in direct_url.json; None where it is not recorded.
        parent: folder that holds the package, a checkout if pyproject.toml lies there.
    """
    if (parent / "pyproject.toml").is_file():  # editable, or run from the checkout
        return f"pip install -e {_folder(parent, extra)}"
    target = f"{NAME}[{extra}]"
    if origin:
        url = origin["url"]
        if vcs := origin.get("vcs_info"):
            target += f" @ {vcs['vcs']}+{url}"
            if revision := vcs.get("requested_revision"):
                target += f"@{revision}"
        else:
            place = Path(url2pathname(urlsplit(url).path))
            if place.is_dir():
                return f"pip install {_folder(place, extra)}"
            if urlsplit(url).scheme != "file" or place.is_file():
                target += f" @ {url}"
    return f"pip install {shlex.quote(target)}"


def _folder(folder: Path, extra: str) -> str:
    name = "." if folder.resolve() == Path.cwd() else str(folder)
    return shlex.quote(f"{name}[{extra}]")


def _origin() -> dict[str, Any] | None:
    """Read where pip or uv installed the package from, if it was no index."""
    try:
        text = Distribution.from_name(NAME).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    origin: dict[str, Any] | None = json.loads(text) if text else None
    return origin
