"""Write the files of a new tokenizer from the templates beside this file."""

from __future__ import annotations

import importlib.util
import keyword
import shutil
import sys
from pathlib import Path
from typing import Final

import jinja2

from ssdd_bench.errors import OptionError, OutputError
from ssdd_bench.plugins.manifest import ID
from ssdd_bench.plugins.registry import TOKENIZERS

TEMPLATES: Final = Path(__file__).with_name("templates")

LONGEST: Final = 60
"""Characters of a name."""


def write_tokenizer(name: str, parent: Path) -> Path:
    """Write a distribution with one tokenizer, which works as it is.

    Args:
        name: id of the tokenizer, such as ``my-vae``; also the new folder's.
        parent: where that folder is made.

    Returns:
        The new folder.

    Raises:
        OptionError: the name is no id, or is taken by a tokenizer or an installed package.
        OutputError: the folder is there already or cannot be written.
    """
    package = name.replace("-", "_")
    _check_name(name, package)
    root = parent / name
    class_name = "".join(part.capitalize() for part in name.split("-"))
    names = {"name": name, "package": package, "class_name": class_name}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    if root.exists():
        raise OutputError(f"{root} is there already: choose another name or --out")
    try:
        root.mkdir(parents=True)
        for template in environment.list_templates(extensions=["j2"]):
            file = root / template.removesuffix(".j2").replace("package", package)
            file.parent.mkdir(exist_ok=True)
            text = environment.get_template(template).render(names)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(root, ignore_errors=True)
        raise OutputError(f"cannot write to {root}: {error.strerror or error}") from error
    return root


def _check_name(name: str, package: str) -> None:
    if not ID.fullmatch(name) or keyword.iskeyword(package) or len(name) > LONGEST:
        raise OptionError(
            f"'{name[:LONGEST]}' is not a valid name: use up to {LONGEST} small letters, digits "
            "and hyphens"
        )
    if name in {*TOKENIZERS.all(), *(one.name for one in TOKENIZERS.broken())}:
        raise OptionError(f"there is a tokenizer '{name}' already: choose another name")
    if package in sys.stdlib_module_names or importlib.util.find_spec(package) is not None:
        raise OptionError(
            f"the installed package '{package}' would be hidden by a tokenizer of that name: "
            f"choose another, such as {name}-tokenizer"
        )
