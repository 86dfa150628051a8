import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from plugin_folders import install_distribution

import ssdd_bench
from ssdd_bench.api import Tokenizer
from ssdd_bench.errors import (
    ManifestError,
    OptionError,
    PluginError,
    UnknownNameError,
    UserError,
    WeightsError,
)
from ssdd_bench.install import install_command
from ssdd_bench.plugins.discovery import VARIABLE, Registry
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer, parse_requests
from ssdd_bench.plugins.spec import TokenizerRequest

MANIFESTS = [
    tomllib.loads(file.read_text("utf-8"))
    for file in Path(ssdd_bench.__file__).parents[1].glob("tokenizers/*/tokenizer.toml")
]
BUILT_IN = {one["id"] for one in MANIFESTS}.union(*(one.get("models", {}) for one in MANIFESTS))
COPY = """
from ssdd_bench.api import Latent, LatentSpec, Tokenizer

class Copy(Tokenizer):
    latent = LatentSpec("continuous", 1, 3)
    def __init__(self, options):
        self.options = options
    def encode(self, images, noise=None):
        return Latent(images, tuple(images.shape[-2:]))
    def decode(self, latent, noise):
        return latent.data

def load(**options):
    return Copy(options)
"""

WritePlugin = Callable[..., Path]


def manifest(name: str, more: str = "") -> str:
    return (
        f'id = "{name}"\ntitle = "T"\nfamily = "test"\ndescription = "D"\nlicence = "MIT"\n'
        f'version = "1"\n{more}'
    )


@pytest.fixture
def write_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WritePlugin:
    """A function that writes a plugin folder where the registry looks; gives the folder."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))

    def write(name: str, more: str = "", code: str = COPY, folder: str = "") -> Path:
        path = tmp_path / (folder or name.replace("-", "_"))
        path.mkdir()
        (path / "tokenizer.toml").write_text(manifest(name, more))
        (path / "plugin.py").write_text(code)
        TOKENIZERS.clear()
        return path

    return write


def test_built_in_tokenizers_are_all_there_and_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    built_in = {info.id for info in TOKENIZERS.all().values() if info.source == "built-in"}
    assert len(built_in) > len(MANIFESTS) > 10
    assert built_in == BUILT_IN
    assert not [one for one in TOKENIZERS.broken() if one.source == "built-in"]
    assert list(TOKENIZERS.all()) == sorted(TOKENIZERS.all())


def test_variable_names_folders_of_plugins(write_plugin: WritePlugin, tmp_path: Path) -> None:
    folder = write_plugin("my-codec")
    info = TOKENIZERS.all()["my-codec"]
    assert (info.folder, info.source) == (folder, f"folder {tmp_path}")
    assert info.package == "ssdd_bench.tokenizers.my_codec"
    assert TOKENIZERS.all().keys() > {"my-codec", "jpeg"}


def test_variable_may_name_several_folders_and_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name / f"codec_{name}").mkdir(parents=True)
        (tmp_path / name / f"codec_{name}" / "tokenizer.toml").write_text(manifest(f"codec-{name}"))
    both = os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")])
    monkeypatch.setenv(VARIABLE, both)
    assert TOKENIZERS.all().keys() >= {"codec-a", "codec-b"}
    monkeypatch.setenv(VARIABLE, str(tmp_path / "a"))
    assert "codec-b" not in TOKENIZERS.all()


def test_a_built_in_tokenizer_keeps_its_id(write_plugin: WritePlugin, tmp_path: Path) -> None:
    write_plugin("jpeg")
    write_plugin("other")
    assert TOKENIZERS.get("jpeg").source == "built-in"
    (broken,) = TOKENIZERS.broken()
    assert (broken.name, broken.source) == ("jpeg", f"folder {tmp_path}")
    assert "built-in" in str(broken.error)
    assert load_tokenizer("other").latent.channels == 3


def test_two_of_third_parties_with_one_id_are_both_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "same").mkdir(parents=True)
        (tmp_path / name / "same" / "tokenizer.toml").write_text(manifest("same"))
    folders = [str(tmp_path / name) for name in ("a", "b")]
    monkeypatch.setenv(VARIABLE, os.pathsep.join(folders))
    assert "same" not in TOKENIZERS.all()
    assert {one.source for one in TOKENIZERS.broken()} == {f"folder {one}" for one in folders}
    with pytest.raises(ManifestError, match="have the id 'same'") as caught:
        load_tokenizer("same")
    assert all(folder in str(caught.value) for folder in folders)
    assert TOKENIZERS.all().keys() >= BUILT_IN


def test_discovery_runs_once_until_the_places_change(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    entries: Registry[int] = Registry(
        "number", "numbers", "number.toml", lambda: looked.append(1) or [], lambda place: {}
    )
    entries.all(), entries.broken(), entries.all()
    assert len(looked) == 1
    entries.clear()
    entries.all()
    assert len(looked) == 2
    monkeypatch.setenv(VARIABLE, "/elsewhere")
    entries.all()
    assert len(looked) == 3
    with pytest.raises(UnknownNameError, match="unknown number 'one'"):
        entries.get("one")


def test_models_of_a_manifest_share_its_plugin(write_plugin: WritePlugin) -> None:
    models = """
[options.size]
type = "int"
default = 1
help = "size"
[models.big-one]
title = "Big"
licence = "MIT"
"""
    # The underscore keeps a folder apart from a package of that name, and is no part of the id.
    write_plugin("family", models, folder="family_")
    found = TOKENIZERS.all()
    assert found["family"].folder == found["big-one"].folder
    loaded = load_tokenizer("big-one:size=2")
    assert loaded.options == {"size": 2, "model": "big-one"}  # type: ignore[attr-defined]
    loaded = load_tokenizer("family")
    assert loaded.options == {"size": 1, "model": ""}  # type: ignore[attr-defined]


def test_folder_is_named_after_the_id(write_plugin: WritePlugin) -> None:
    write_plugin("my-codec", folder="mine")
    (broken,) = TOKENIZERS.broken()
    assert "the folder of 'my-codec' must be named my_codec" in str(broken.error)


def test_a_broken_manifest_harms_no_other(write_plugin: WritePlugin, tmp_path: Path) -> None:
    write_plugin("bad-one", more="nonsense = 1")
    write_plugin("good-one")
    assert "good-one" in TOKENIZERS.all()
    assert "bad-one" not in TOKENIZERS.all()
    assert [(one.name, one.source) for one in TOKENIZERS.broken()] == [
        ("bad-one", f"folder {tmp_path}")
    ]
    with pytest.raises(ManifestError, match="unknown key 'nonsense'"):
        parse_requests("bad-one")


def test_a_wrong_folder_in_the_variable_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    (broken,) = TOKENIZERS.broken()
    assert str(broken.error) == f"{tmp_path / 'gone'}: no such folder: correct ${VARIABLE}"
    with pytest.raises(UnknownNameError) as caught:
        parse_requests("bad")
    assert str(broken.error) in str(caught.value)
    assert "'bad'" in str(caught.value)


def test_a_plugin_folder_in_the_variable_is_told_with_its_parent(
    write_plugin: WritePlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_plugin("my-codec")
    monkeypatch.setenv(VARIABLE, str(folder))
    assert "my-codec" not in TOKENIZERS.all()
    (broken,) = TOKENIZERS.broken()
    assert (broken.name, broken.source) == ("my-codec", f"folder {folder}")
    assert f"{tmp_path} in ${VARIABLE}" in str(broken.error)
    with pytest.raises(ManifestError) as caught:
        parse_requests("my-codec")
    assert caught.value is broken.error
    with pytest.raises(UnknownNameError, match="'other'") as unknown:
        parse_requests("other")
    assert str(broken.error) in str(unknown.value)


def test_a_broken_plugin_has_no_part_in_unknown_names(write_plugin: WritePlugin) -> None:
    write_plugin("bad-one", more="nonsense = 1")
    with pytest.raises(UnknownNameError) as caught:
        parse_requests("other")
    assert "nonsense" not in str(caught.value)


def test_packages_are_found_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "someones_package" / "deep" / "codec"
    folder.mkdir(parents=True)
    (tmp_path / "someones_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "tokenizer.toml").write_text(manifest("someones-codec"))
    points = {"any-name": "someones_package.deep.codec"}
    install_distribution(tmp_path, "someones-dist", TOKENIZERS.group, points)
    monkeypatch.syspath_prepend(tmp_path)
    info = TOKENIZERS.all()["someones-codec"]
    assert (info.source, info.folder) == ("package someones-dist", folder)
    assert "someones_package" not in sys.modules
    with pytest.raises(PluginError, match=r"package someones-dist.*RuntimeError: imported"):
        load_tokenizer("someones-codec")


@pytest.mark.parametrize("value", ["absent_package", "absent_package.a:b", "os", "json.tool", ""])
def test_a_broken_package_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    install_distribution(tmp_path, "broken-dist", TOKENIZERS.group, {"broken-codec": value})
    monkeypatch.syspath_prepend(tmp_path)
    assert TOKENIZERS.all().keys() >= BUILT_IN
    (broken,) = TOKENIZERS.broken()
    assert (broken.name, broken.source) == ("broken-codec", "package broken-dist")
    with pytest.raises(ManifestError, match=r"where there is no tokenizer\.toml: reinstall"):
        load_tokenizer("broken-codec")


def test_load_gets_every_option_typed(write_plugin: WritePlugin) -> None:
    write_plugin(
        "all-options",
        more='[options.n]\ntype = "int"\ndefault = 1\nhelp = "n"\n'
        '[options.x]\ntype = "float"\ndefault = 2\nhelp = "x"\n',
    )
    for request, options in (
        ("all-options", {"n": 1, "x": 2.0}),
        ("all-options:n=3", {"n": 3, "x": 2.0}),
        (TokenizerRequest("all-options", {"n": 3}), {"n": 3, "x": 2.0}),
    ):
        loaded = load_tokenizer(request)
        assert isinstance(loaded, Tokenizer)
        assert vars(loaded)["options"] == options
    assert vars(load_tokenizer("all-options:n=3", x=5))["options"] == {"n": 3, "x": 5.0}
    assert vars(load_tokenizer("all-options:n=3", n=4))["options"] == {"n": 4, "x": 2.0}


@pytest.mark.parametrize(
    ("request_text", "options", "kind", "message"),
    [
        ("jpge", {}, UnknownNameError, "did you mean jpeg?"),
        ("jpeg:quality=0", {}, OptionError, "from 1 to 100, not 0"),
        ("jpeg", {"quality": "50"}, OptionError, "from 1 to 100, not '50'"),
        ("jpeg", {"qualty": 50}, OptionError, "did you mean quality?"),
        ("jpeg:quality=1,2", {}, OptionError, "names 2 tokenizers"),
    ],
)
def test_wrong_requests(
    request_text: str, options: dict[str, int], kind: type[UserError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        load_tokenizer(request_text, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (
            "fault-import",
            "import a_missing_library",
            "ModuleNotFoundError: No module named 'a_miss",
        ),
        ("fault-syntax", "def load(:", "SyntaxError: "),
        ("fault-no-load", "", "AttributeError: module "),
        ("fault-arguments", "def load(quality): ...", "TypeError: load() missing 1 required"),
        ("fault-type", "def load(): return 3", "load returned int, not a Tokenizer"),
        ("fault-text", "def load(): raise ValueError('one\\ntwo')", "ValueError: one; fix or"),
        ("fault-empty", "def load(): raise ValueError", "ValueError; fix or remove the plugin"),
    ],
)
def test_a_failing_plugin_is_one_line_with_its_cause(
    write_plugin: WritePlugin, tmp_path: Path, name: str, code: str, message: str
) -> None:
    folder = write_plugin(name, code=code)
    with pytest.raises(PluginError) as caught:
        load_tokenizer(name)
    text = str(caught.value)
    assert text.startswith(f"{name} (folder {tmp_path}) cannot be loaded: ")
    assert message in text
    assert str(folder) in text
    assert "\n" not in text
    assert caught.value.__cause__ is not None


def test_a_plugin_without_latents_is_refused_when_it_is_loaded(write_plugin: WritePlugin) -> None:
    code = """
from ssdd_bench.api import Tokenizer
class Bare(Tokenizer):
    encode = decode = None
def load(): return Bare()
"""
    write_plugin("fault-latent", code=code)
    with pytest.raises(PluginError, match=r"^fault-latent: attribute latent"):
        load_tokenizer("fault-latent")


def test_errors_meant_for_users_pass_through(write_plugin: WritePlugin) -> None:
    code = "from ssdd_bench.errors import WeightsError\ndef load(): raise WeightsError('gone')"
    write_plugin("fault-weights", code=code)
    with pytest.raises(WeightsError, match=r"^gone$"):
        load_tokenizer("fault-weights")


@pytest.mark.parametrize(
    ("extra", "command"),
    [("", "pip install absent_one"), ('extra = "more"\n', install_command("more"))],
)
def test_a_missing_library_is_named_with_its_cure(
    write_plugin: WritePlugin, extra: str, command: str
) -> None:
    write_plugin("needs-library", more=f'requires = ["json", "absent_one"]\n{extra}')
    with pytest.raises(PluginError) as caught:
        load_tokenizer("needs-library")
    assert str(caught.value) == f"needs-library needs absent_one: {command}"
