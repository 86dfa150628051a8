"""Places of files and directions of imports: rules that no single module can keep alone."""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.registry import TOKENIZERS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ssdd_bench"
PLUGINS = ROOT / "tokenizers"

# A unit is a module or folder of ssdd_bench. It may import its own level and those below it.
LEVELS = (
    ("arguments", "errors", "api", "flow", "install"),
    ("tokenizers", "plugins", "results"),
    ("data", "launch", "weights"),
    ("nn", "metrics"),
    ("protocols", "ssdd"),
    ("diffusers",),
    ("report",),
    ("hub",),
    ("evaluation",),
    ("train", "gate", "tracking"),
    ("generation",),
    ("cli",),
    ("__main__",),
)
# These may import less than their level.
NARROW = {
    "arguments": {"errors"},
    "errors": set(),
    "api": {"errors"},
    "flow": {"errors"},
    "install": set(),
    "launch": {"errors", "install", "results"},
    "report": {"errors", "plugins", "results", "protocols", "metrics"},
}
# Test modules about more than one module of the package: committed files, real weights, behaviour
# of the whole. The other ones are named after a module, a package or a plugin.
FREE_TESTS = {
    "cli/test_complete",
    "diffusers/test_half",
    "diffusers/test_pipelines",
    "evaluation/test_fields",
    "evaluation/test_scale",
    "generation/test_shipped",
    "metrics/test_real_weights",
    "nn/test_golden",
    "plugins/test_third_party",
    "report/test_browser",
    "report/test_scale",
    "report/tables/test_renderers",
    "report/test_committed",
    "results/test_committed",
    "test_init",
    "test_layout",
    "test_ci",
    "test_prose",
    "tokenizers/test_cards",
}
FREE_TEST_FOLDERS = {"benchmarks", "cluster", "docs", "gpu", "hostile"}
# Words of other meanings that are ids of plugins too.
OTHER_MEANINGS = {
    "diffusers": "the library",
    "onnx": "the format",
    "torchscript": "the format",
    "identity": "a key: what distinguishes two things",
}
# Trainings, as `ssdd-bench train WHAT` and recipes name them: a method and a stage.
TRAININGS = {"ssdd", "klvae"}
PLUGIN_MAY_IMPORT = {"api", "errors", "weights", "nn", "flow", "ssdd", "plugins", "diffusers"}
PLUGIN_LIBRARIES = {"torch", "numpy", "PIL", "safetensors"}  # besides what its manifest requires

# Reading manifests, results and reports must stay quick and possible without a GPU's libraries.
WITHOUT_TORCH = (
    "api",
    "arguments",
    "data.named",
    "errors",
    "evaluation",
    "gate.compare",
    "gate.load",
    "gate.outputs",
    "gate.thresholds",
    "hub.card",
    "hub.publish",
    "hub.pull",
    "hub.validate",
    "install",
    "launch.lock",
    "launch.pool",
    "launch.processes",
    "launch.shares",
    "launch.tasks",
    "metrics.base",
    "metrics.catalog",
    "metrics.frechet",
    "metrics.intervals",
    "metrics.moments",
    "metrics.state",
    "plugins.discovery",
    "plugins.manifest",
    "plugins.options",
    "plugins.registry",
    "plugins.spec",
    "protocols.registry",
    "protocols.schema",
    "results.fingerprint",
    "results.store",
    "weights",
    "weights.download",
    "weights.hub",
)


def built_in() -> list[TokenizerInfo]:
    return [info for info in TOKENIZERS.all().values() if info.source == "built-in"]


def imports(file: Path) -> Iterator[str]:
    """Dotted names that a file imports anywhere; relative ones are left out."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_units(file: Path) -> set[str]:
    """Units of ssdd_bench that a file imports."""
    parts = (name.split(".") for name in imports(file))
    units = {name[1] for name in parts if name[0] == "ssdd_bench" and len(name) > 1}
    return units - {"__version__"}


def unit_files() -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        unit = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        files.setdefault(unit, []).append(file)
    del files["__init__"]
    return files


def run_python(*arguments: str, cwd: Path = ROOT, path: str = "") -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_no_gpu_is_seen() -> None:
    """A GPU is visible to the tests marked gpu alone, when nothing else is run."""
    code = "import torch; print(torch.cuda.device_count(), torch.cuda.is_available())"
    assert run_python("-c", code) == "0 False\n"


def test_every_unit_has_a_level() -> None:
    assert {unit for level in LEVELS for unit in level} == unit_files().keys()


@pytest.mark.parametrize("unit", [unit for level in LEVELS for unit in level])
def test_arrows_point_one_way(unit: str) -> None:
    height = next(i for i, level in enumerate(LEVELS) if unit in level)
    allowed = {other for level in LEVELS[: height + 1] for other in level}
    allowed = NARROW.get(unit, allowed) | {unit}
    for file in unit_files().get(unit, ()):
        assert imported_units(file) <= allowed, f"{file.relative_to(ROOT)} imports too much"


def test_tests_mirror_the_package() -> None:
    tests = ROOT / "tests"
    modules = [path.relative_to(tests).with_suffix("") for path in tests.rglob("test_*.py")]
    named = {path for path in modules if path.parts[0] not in FREE_TEST_FOLDERS}
    strays = {path.as_posix() for path in named if not _tested(path)}
    assert strays == FREE_TESTS


def _tested(test: Path) -> list[Path]:
    """Return the module, private module or package that a module of tests is named after."""
    name = test.name.removeprefix("test_")
    folder = (PLUGINS if test.parts[0] == "tokenizers" else PACKAGE / test.parent).resolve()
    names = (name, f"{name}.py", f"_{name}.py", f"{name}_")
    return [folder / one for one in names if (folder / one).exists()]


@pytest.mark.medium
def test_nothing_imports_a_plugin_by_name() -> None:
    for file in (file for files in unit_files().values() for file in files):
        found = [name for name in imports(file) if name.startswith("ssdd_bench.tokenizers.")]
        assert not found, f"{file.relative_to(ROOT)} imports {found}"


def plugin_ids_in(file: Path) -> set[str]:
    """Ids of built-in plugins among a file's strings, alone or with options; prose is left out."""
    ids = {info.id for info in built_in()}
    return {
        node.value
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and " " not in node.value
        and node.value.partition(":")[0] in ids
    }


@pytest.mark.medium
def test_no_string_names_a_plugin() -> None:
    """A plugin's folder can be deleted, or another plugin take its place."""
    for unit, files in unit_files().items():
        for file in files:
            found = plugin_ids_in(file) - OTHER_MEANINGS.keys()
            if file.relative_to(PACKAGE).as_posix() == "cli/train.py" or unit == "train":
                found -= TRAININGS
            assert not found, f"{file.relative_to(ROOT)} names {found}"


def test_plugins_import_the_public_part_and_their_own_library() -> None:
    allowed = {*sys.stdlib_module_names, *PLUGIN_LIBRARIES, "ssdd_bench"}
    required: dict[Path, set[str]] = {}
    for info in built_in():
        required.setdefault(info.folder, set()).update(info.requires)
    for folder, libraries in required.items():
        for file in folder.rglob("*.py"):
            assert imported_units(file) <= PLUGIN_MAY_IMPORT, file
            assert {name.split(".")[0] for name in imports(file)} <= allowed | libraries, file


def test_plugin_folders_are_whole() -> None:
    folders = [path for path in PLUGINS.iterdir() if path.is_dir() and path.name[0] not in "._"]
    assert {info.folder for info in built_in()} == set(folders)
    for folder in folders:
        assert (folder / "plugin.py").is_file()
        assert (folder / "README.md").is_file()
        (docstring,) = ast.parse((folder / "__init__.py").read_text()).body
        assert isinstance(docstring, ast.Expr), f"{folder.name}/__init__.py is a docstring only"


def test_no_plugin_is_named_like_a_package() -> None:
    """Some tools put a file's folder on the import path; a plugin must shadow nothing then."""
    for info in built_in():
        assert info.folder.name not in sys.stdlib_module_names
        assert importlib.util.find_spec(info.folder.name) is None


def test_folders_that_must_not_be_packages() -> None:
    assert not (PLUGINS / "__init__.py").exists()
    assert not (ROOT / "conftest.py").exists()
    packages = [
        path for path in (ROOT / "tests").rglob("__init__.py") if "fixtures" not in path.parts
    ]
    assert not packages


@pytest.mark.slow
@pytest.mark.parametrize("how", ["-c", "-m"])
def test_the_package_tokenizers_of_others_wins(tmp_path: Path, how: str) -> None:
    """Even from the root of the checkout, whose folder of that name comes first on the path."""
    (tmp_path / "tokenizers").mkdir()
    (tmp_path / "tokenizers" / "__init__.py").write_text("WHOSE = 'theirs'")
    code = (
        "from ssdd_bench.plugins.registry import load_tokenizer\n"
        "load_tokenizer('identity')\n"
        "import tokenizers\n"
        "print(tokenizers.WHOSE)\n"
    )
    (tmp_path / "probe.py").write_text(code)
    arguments = [how, code if how == "-c" else "probe"]
    assert run_python(*arguments, path=f"{ROOT}{os.pathsep}{tmp_path}") == "theirs\n"


@pytest.mark.medium
def test_our_folder_tokenizers_is_no_module() -> None:
    """A finder of modules meets a folder without code there, or another package of that name."""
    code = (
        "import importlib.util as u, ssdd_bench.plugins.registry\n"
        "spec = u.find_spec('tokenizers')\n"
        "print('' if spec is None else spec.origin or '')\n"
    )
    origin = run_python("-c", code).strip()
    assert not origin.startswith(str(PLUGINS))


@pytest.mark.medium
def test_light_modules_do_not_import_torch() -> None:
    modules = ", ".join(f"ssdd_bench.{name}" for name in WITHOUT_TORCH)
    whole = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for folder in ("report", "cli")
        for file in (PACKAGE / folder).rglob("[!_]*.py")
    ]
    code = f"import sys, {', '.join([modules, *whole])}\nprint('torch' in sys.modules)"
    assert run_python("-c", code) == "False\n"


@pytest.mark.medium
def test_listing_imports_neither_torch_nor_a_plugin() -> None:
    code = (
        "import sys\n"
        "from ssdd_bench.cli.list import command\n"
        "command(['tokenizers'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'diffusers'} & sys.modules.keys()\n"
        "plugins = [name for name in sys.modules if name.startswith('ssdd_bench.tokenizers.')]\n"
        "assert not heavy and not plugins, (heavy, plugins)\n"
    )
    run_python("-c", code)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="builds from a git checkout")
def test_wheel_holds_the_tracked_plugins_and_works(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    build(checkout, tmp_path / "direct", "--wheel")
    build(checkout, tmp_path / "both")  # a source distribution, and a wheel from that
    (direct,) = (tmp_path / "direct").glob("*.whl")
    (indirect,) = (tmp_path / "both").glob("*.whl")
    names, again = (zipfile.ZipFile(wheel).namelist() for wheel in (direct, indirect))

    assert not [name for name in names if "stray" in name]
    assert not [name for name in names if name.startswith("tokenizers/")]
    plugins = {name for name in names if name.startswith("ssdd_bench/tokenizers/")}
    strays = {name for name in again if "stray" in name}
    assert plugins == {name for name in again if name.startswith("ssdd_bench/tok")} - strays
    package_data = [
        path for path in PACKAGE.rglob("*") if path.suffix in (".jpg", ".json", ".toml", ".typed")
    ]
    assert {path.relative_to(ROOT).as_posix() for path in package_data} <= set(names)

    python = make_environment(tmp_path / "venv", direct)
    listed = json.loads(run(python, "-m", "ssdd_bench", "list", "tokenizers", "--json"))
    entries = {one["id"]: one for one in listed["tokenizers"]}
    assert entries.keys() == {info.id for info in built_in()}
    assert {one["source"] for one in entries.values()} == {"built-in"}
    for one in entries.values():
        assert Path(one["folder"]).is_relative_to(tmp_path / "venv")
    code = (
        "from ssdd_bench.evaluation.conformance import check_tokenizer\n"
        "print(check_tokenizer('jpeg'))"
    )
    assert run(python, "-c", code) == "[]\n"


def copy_checkout(target: Path) -> Path:
    """A git checkout of what a wheel is made of, with files that must stay out of one."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("ssdd_bench", "tokenizers"):
        shutil.copytree(ROOT / name, target / name, ignore=ignore)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, target / name)
    (target / "tokenizers" / "jpeg" / "stray.bin").write_text("tracked, of a suffix we never ship")
    subprocess.run(["git", "init", "-q", "."], check=True, cwd=target)
    subprocess.run(["git", "add", "."], check=True, cwd=target)
    (target / "tokenizers" / "jpeg" / "stray.toml").write_text("not_tracked = true")
    shutil.copytree(target / "tokenizers" / "jpeg", target / "tokenizers" / "stray")
    return target


def build(checkout: Path, out: Path, *kinds: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", str(out)]
    subprocess.run([*command, str(checkout)], check=True, cwd=checkout, capture_output=True)


def make_environment(folder: Path, wheel: Path) -> Path:
    """A virtual environment with the wheel alone, which sees the libraries of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index"]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *options]
    subprocess.run([*command, str(wheel)], check=True)
    (site,) = folder.glob("lib/*/site-packages")
    # A .pth file inside this path is not followed, so an editable install here stays out.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return python


def run(python: Path, *arguments: str) -> str:
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", VARIABLE)
    }
    done = subprocess.run(
        [python, *arguments], cwd=python.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
