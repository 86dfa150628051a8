"""Hooks of the site: pages from other places of the repository, generated tables, links to files.

MkDocs imports this file and calls the functions `on_...`.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Pages of the repository's root, by their place on the site.
COPIES = {
    "CONTRIBUTING.md": "contributing/index.md",
    "CHANGELOG.md": "contributing/changelog.md",
    "LOG.md": "contributing/log.md",
    "SECURITY.md": "contributing/security.md",
}
REPORT = "reports"
CROPS = "results/*/samples/*/*.webp"  # which the report shows where they lie
NOT_SHOWN = {".md", ".tex"}  # of the report; a page would be made of Markdown
# What each extra of pyproject.toml is for.
USES = {
    "train": "training SSDD, a KL-VAE or a DiT",
    "tensorboard": "`--track tensorboard`",
    "wandb": "`--track wandb`",
    "trackio": "`--track trackio`",
    "mlflow": "`--track mlflow`",
    "dreamsim": "the metric DreamSim",
    "dinov2": "`fd_dinov2`, and REPA with DINOv2",
    "onnx": "tokenizers in ONNX files",
    "rae": "representation autoencoders",
    "slurm": "`--launcher slurm`",
    "ray": "`--launcher ray`",
    "docs": "this documentation",
    "test": "the tests",
    "dev": "development: the tests and pre-commit",
}
PICTURES = {".avif", ".jpg", ".png", ".svg", ".webp"}
# The repository in pages, whose address the site takes from $REPOSITORY_URL.
REPOSITORY = "OWNER/ssdd-bench"
HOST = "https://github.com/"
# A generated table takes the place of what readers of the repository see there.
PLACEHOLDER = re.compile(
    r"^<!-- generated: (\S+) -->\n.*?^<!-- /generated -->$", re.DOTALL | re.MULTILINE
)
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):(?=<code>|`)")
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root and the report with its pictures."""
    for name, place in COPIES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text("utf-8")))
    for path in sorted((ROOT / REPORT).rglob("*")):
        if path.is_file() and path.suffix not in NOT_SHOWN:
            place = posixpath.join(REPORT, path.relative_to(ROOT / REPORT).as_posix())
            files.append(File.generated(config, place, abs_src_path=str(path)))
    for path in sorted(ROOT.glob(CROPS)):
        place = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in generated tables, and make links that leave docs/ work on the site."""
    markdown = PLACEHOLDER.sub(lambda found: _generate(found[1]), markdown)
    markdown = name_repository(markdown, config.repo_url or "")
    place = page.file.src_uri
    origin = {copy: name for name, copy in COPIES.items()}.get(place, f"docs/{place}")
    return LINK.sub(lambda found: _link(found, origin, place, config, files), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave out the roles of Sphinx in docstrings, which name what the code beside them is."""
    return ROLE.sub("", html)


def name_repository(markdown: str, address: str) -> str:
    """Put the address of the repository into a page; "" leaves the placeholder."""
    if not address:
        return markdown
    address = address.rstrip("/")
    markdown = markdown.replace(HOST + REPOSITORY, address)
    return markdown.replace(REPOSITORY, "/".join(address.split("/")[-2:]))


def _generate(name: str) -> str:
    if name not in TABLES:
        raise PluginError(f"<!-- generated: {name} -->: known are {', '.join(sorted(TABLES))}")
    return TABLES[name]()


def _link(found: re.Match[str], origin: str, place: str, config: MkDocsConfig, files: Files) -> str:
    """Return a link to a page of the site if there is one, otherwise to the repository.

    Pictures from elsewhere in the repository are added to the site.
    """
    before, target, after = found.groups()
    if ":" in target or target.startswith("/"):
        return found[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    shown = path.startswith(f"{REPORT}/") and Path(path).suffix not in NOT_SHOWN
    if path.startswith("docs/"):
        here = path.removeprefix("docs/")
    elif path in COPIES or shown:
        here = COPIES.get(path, path)
    elif not (ROOT / path).exists():
        return found[0]  # the strict build reports it
    elif Path(path).suffix in PICTURES:
        here = path
        if files.get_file_from_path(path) is None:
            files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    else:
        base = config.repo_url or HOST + REPOSITORY
        return f"{before}{base.rstrip('/')}/blob/main/{path}{after}"
    return f"{before}{os.path.relpath(here, posixpath.dirname(place) or '.')}{after}"


def _metrics() -> str:
    from ssdd_bench.metrics.catalog import find_metrics

    return _table(
        ("key", "title", "better", "for", "measured by default", "needs"),
        (
            (
                f"`{key}`",
                info.title,
                "higher" if info.higher_is_better else "lower",
                info.applies_to,
                info.default_for,
                ", ".join([*info.assets, *([f"extra `{info.extra}`"] if info.extra else [])]),
            )
            for key, info in find_metrics().items()
        ),
    )


def _protocols() -> str:
    """Return a column for each protocol, and under each kind its settings."""
    from ssdd_bench.protocols.descriptions import describe
    from ssdd_bench.protocols.registry import PROTOCOLS

    found = PROTOCOLS.all().values()
    parts = []
    for kind in dict.fromkeys(one.kind for one in found):
        records = {one.id: one.record() for one in found if one.kind == kind}
        names = dict.fromkeys(name for record in records.values() for name in record)
        rows = (
            (
                f"`{name}`",
                *(_setting(name, record.get(name), describe) for record in records.values()),
            )
            for name in names
            if name not in ("id", "kind")
        )
        parts.append(f"### Settings of {kind}\n\n" + _table(("setting", *records), rows))
    return "\n\n".join(parts)


def _setting(name: str, value: Any, describe: Callable[[str, Any], str]) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(f"`{one}`" for one in value) or "those measured by default"
    if name == "sha256":
        return f"`{value[:12]}`"
    if name == "description":
        return str(value)
    said = describe(name, value)
    return f"`{value}`: {said}" if said and said != str(value) else f"`{value}`"


def _result_file() -> str:
    """Return a section for each record of the published JSON Schema."""
    schema = json.loads((ROOT / "ssdd_bench" / "results" / "result.schema.json").read_text("utf-8"))
    parts = [("Result", schema), *schema["$defs"].items()]
    return "\n\n".join(f"### {name}\n\n{_record(record)}" for name, record in parts)


def _record(record: dict[str, Any]) -> str:
    required = set(record["required"])
    rows = (
        (
            f"`{name}`",
            _type(field),
            # A brace at the end of a cell would be read as its attributes.
            field.get("description", "").replace("{", "&#123;")
            + ("" if name in required else " (may be absent)"),
        )
        for name, field in record["properties"].items()
    )
    return f"{record['description']}\n\n" + _table(("field", "type", "meaning"), rows)


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(map(_type, field["anyOf"]))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        inner = [field["items"]] if field.get("items") else field.get("prefixItems", [])
        return f"list of {', '.join(map(_type, inner))}"
    if field.get("type") == "object":
        values = field.get("additionalProperties")
        return f"object of {_type(values)}" if values else "object"
    return field.get("type", "any value")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines
    )


def _extras() -> str:
    """Return the optional dependencies of pyproject.toml, but those of developers."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    rows = (
        (f"`{name}`", USES.get(name, ""), ", ".join(map(_name, packages)))
        for name, packages in project["optional-dependencies"].items()
    )
    return _table(("extra", "for", "packages"), rows)


def _name(requirement: str) -> str:
    return f"`{re.split(r'[<>=!~ ;@]', requirement)[0]}`"


TABLES: dict[str, Callable[[], str]] = {
    "extras": _extras,
    "metrics": _metrics,
    "protocols": _protocols,
    "result-file": _result_file,
}
