"""Write constraints/lowest.txt: the lowest version of each direct dependency of pyproject.toml."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
HEAD = "# Lowest versions that pyproject.toml allows, written by `make lowest` and tested by CI.\n"


def constraints() -> str:
    """Return the text of the file; a dependency without a lowest version is left out."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    found = {one.name: str(one.specifier) for one in map(Requirement, lines)}
    pins = (f"{name}{floor.replace('>=', '==')}\n" for name, floor in found.items() if floor)
    return HEAD + "".join(sorted(pins))


if __name__ == "__main__":
    (ROOT / "constraints" / "lowest.txt").write_text(constraints(), encoding="utf-8")
