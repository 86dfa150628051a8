"""The site builds strictly, its notebooks run, and links in pages outside of it lead somewhere."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
PAGES = sorted(
    path
    for pattern in ("*.md", ".github/**/*.md", "tokenizers/*/README.md", "docs/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    text = CODE.sub("", page.read_text("utf-8"))
    return {slugify(heading, "-") for heading in HEADING.findall(text.replace("`", ""))}


def broken(page: Path) -> list[str]:
    """Relative links of a page whose file or heading does not exist."""
    found = []
    for link in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if ":" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`\n[a](#one-two) [b](#three) [c](page.md#one-two) [d](gone.md)\n")
    assert broken(page) == ["#three", "gone.md"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="the extra docs is not installed")
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """A warning about a link, an anchor or a docstring is an error, as for `make docs`."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("index.html")}
    sources = (path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md"))
    names = (path.with_suffix("").as_posix().removesuffix("index").strip("/") for path in sources)
    assert {name or "." for name in names} <= pages
    assert {f"notebooks/{path.stem}" for path in NOTEBOOKS} <= pages
    reference = tmp_path / "reference"
    metrics = (reference / "metrics" / "index.html").read_text("utf-8")
    assert "<!-- generated" not in metrics
    assert "The site shows" not in metrics  # which is for readers of the repository
    assert "fd_effnet_intra" in metrics
    assert "ssdd-bench gen correlate" in (reference / "cli" / "index.html").read_text("utf-8")
    python = (reference / "python" / "index.html").read_text("utf-8")
    assert "<blockquote>" not in python  # which an example becomes that is not read as code
    assert "max_image_mb" in python
    assert "MAX_IMAGE_MB" not in python  # its number stands there
    assert (tmp_path / "reports" / "index.html").is_file()
    commands = (tmp_path / "how-to" / "commands" / "index.html").read_text("utf-8")
    assert not re.search(r'<ul class="md-nav__list"[^>]*>\s*</ul>', commands)  # an empty section
    assert ".language-sh" in (tmp_path / "site.css").read_text("utf-8")
    assert 'class="language-sh highlight"' in (tmp_path / "index.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nbclient") is None, reason="the extra docs is not installed")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the tools of notebooks
def test_notebooks_run(path: Path, tmp_path: Path) -> None:
    """All cells run, in an empty folder, without a network; the last one shows something."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert [cell for cell in notebook.cells if cell.cell_type == "code"][-1].outputs
    assert not list(tmp_path.iterdir())
