from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.api import LatentSpec
from ssdd_bench.errors import ManifestError, OptionError
from ssdd_bench.plugins.discovery import Place
from ssdd_bench.plugins.manifest import Published, TokenizerInfo, load_manifest

HEAD = """
id = "my-codec"
title = "My codec"
family = "codec"
description = "A codec."
licence = "MIT"
version = "1"
"""
FULL = (
    HEAD
    + """
note = "untrained"
stochastic = true
plugin = "main:make"
requires = ["diffusers"]
extra = "more"
paper = "https://example.org"

[latent]
kind = "discrete"
f = 8
channels = 3
bits_per_value = 8

[options.steps]
type = "int"
default = 1
minimum = 1
maximum = 100
help = "steps"

[options.shift]
type = "float"
default = 2
minimum = 0.1
help = "shift"

[options.path]
type = "path"
default = "~/weights"
help = "file"

[options.mode]
type = "str"
default = "4:2:0"
choices = ["4:2:0", "4:4:4"]
help = "colour"

[options.fast]
type = "bool"
default = false
help = "fast"
"""
)


def read_models(folder: Path, text: str) -> list[TokenizerInfo]:
    path = folder / "my_codec" / "tokenizer.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return load_manifest(Place("my-codec", f"folder {folder}", path, "some.my_codec"))


def read(folder: Path, text: str) -> TokenizerInfo:
    return read_models(folder, text)[0]


@pytest.fixture
def info(tmp_path: Path) -> TokenizerInfo:
    return read(tmp_path, FULL)


def test_every_key_is_read(info: TokenizerInfo, tmp_path: Path) -> None:
    assert (info.id, info.title, info.family, info.licence) == (
        "my-codec",
        "My codec",
        "codec",
        "MIT",
    )
    assert (info.note, info.stochastic, info.plugin) == ("untrained", True, "main:make")
    assert (info.requires, info.extra) == (("diffusers",), "more")
    assert info.latent == LatentSpec("discrete", 8, 3, 8)
    assert list(info.options) == ["steps", "shift", "path", "mode", "fast"]
    assert info.folder == tmp_path / "my_codec"
    assert info.source == f"folder {tmp_path}"
    assert info.package == "some.my_codec"


def test_optional_keys_have_defaults(tmp_path: Path) -> None:
    info = read(tmp_path, HEAD)
    assert (info.plugin, info.stochastic, info.latent) == ("plugin:load", False, None)
    assert (dict(info.options), info.requires, info.note) == ({}, (), "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("licens = 'x'", "unknown key 'licens': did you mean licence"),
        ("[latent]\nkind = 'bytes'\nf = 1\nchanels = 0", "did you mean latent.channels"),
        ("[latent]\nkind = 'bytes'\nf = 1", "missing key 'latent.channels'"),
        (
            "[latent]\nkind = 'other'\nf = 1\nchannels = 1",
            "'latent.kind' must be one of continuous",
        ),
        (
            "[latent]\nkind = 'discrete'\nf = 1\nchannels = 1",
            "'latent': bits_per_value is None for kind",
        ),
        ("[latent]\nkind = 'continuous'\nf = 0\nchannels = 1", "'latent': f is 0"),
        ("[latent]\nkind = 'continuous'\nf = true\nchannels = 1", "'latent.f' must be an integer"),
        ("note = 3", "key 'note' must be text"),
        ("stochastic = 1", "key 'stochastic' must be true or false"),
        ("requires = 'torch'", "key 'requires' must be a list"),
        ("requires = ['a.b']", "'requires[0]' must be a top-level import name"),
        ("plugin = 'plugin.py'", "key 'plugin' must be module:name"),
        ("options = 3", "key 'options' must be a table"),
        ("[options]\na = 1", "key 'options.a' must be a table"),
        ("[options.A]\ntype = 'int'\ndefault = 1\nhelp = ''", "'options.A' must be a lower-case"),
        ("[options.a]\ntype = 'int'\nhelp = ''", "missing key 'options.a.default'"),
        (
            "[options.a]\ntype = 'integer'\ndefault = 1\nhelp = ''",
            "'options.a.type' must be one of",
        ),
        ("[options.a]\ntype = 'int'\ndefault = 1.5\nhelp = ''", "options.a.default': option 'a'"),
        ("[options.a]\ntype = 'int'\ndefault = true\nhelp = ''", "options.a.default': option 'a'"),
        ("[options.a]\ntype = 'int'\ndefault = 1\nminimum = 2\nhelp = ''", "from 2, not 1"),
        ("[options.a]\ntype = 'str'\ndefault = ''\nmaximum = 2\nhelp = ''", "with numbers only"),
        ("[options.a]\ntype = 'int'\ndefault = 1\nmin = 0\nhelp = ''", "key 'options.a.min'"),
        ("not toml", "not valid TOML"),
        ("id = 'again'", "not valid TOML"),
    ],
)
def test_faults_name_the_file_and_the_key(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, f"{HEAD}\n{change}\n")
    assert str(caught.value).startswith(str(tmp_path / "my_codec" / "tokenizer.toml: "))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["My-codec", "my_codec", "my--codec", "-my", "9", "my codec", ""])
def test_ids_are_kebab_case(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match="must be kebab-case"):
        read(tmp_path, HEAD.replace("my-codec", name))


@pytest.mark.parametrize("key", ["id", "title", "family", "description", "licence", "version"])
def test_required_keys(tmp_path: Path, key: str) -> None:
    text = "\n".join(line for line in HEAD.splitlines() if not line.startswith(key))
    with pytest.raises(ManifestError, match=f"missing key '{key}'"):
        read(tmp_path, text)


def test_missing_and_undecodable_files(tmp_path: Path) -> None:
    place = Place("x", "built-in", tmp_path / "tokenizer.toml", "x")
    with pytest.raises(ManifestError, match="cannot be read"):
        load_manifest(place)
    place.file.write_bytes(b'id = "\xff"')
    with pytest.raises(ManifestError, match="not valid TOML"):
        load_manifest(place)


def test_resolving_adds_defaults_and_expands_home(
    info: TokenizerInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert info.resolve_options({"path": "~/x", "shift": 3}) == {
        "steps": 1,
        "shift": 3.0,
        "path": "/home/somebody/x",
        "mode": "4:2:0",
        "fast": False,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 1}, "my-codec: unknown option 'step': did you mean steps?"),
        ({"steps": "1"}, "my-codec: option 'steps' must be an integer from 1 to 100, not '1'"),
        ({"steps": True}, "my-codec: option 'steps' must be an integer from 1 to 100, not True"),
        ({"fast": 1}, "my-codec: option 'fast' must be true or false, not 1"),
        ({"path": Path("x")}, "my-codec: option 'path' must be a path, not PosixPath('x')"),
    ],
)
def test_resolving_refuses(info: TokenizerInfo, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        info.resolve_options(options)
    assert str(caught.value) == message


def test_a_tokenizer_without_options_says_so(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="unknown option 'q': this tokenizer takes none"):
        read(tmp_path, HEAD).resolve_options({"q": 1})


MODELS = (
    FULL
    + """
[models.other]
title = "Other"
licence = "CC0-1.0"
note = "trained"
latent = { kind = "continuous", f = 4, channels = 8 }
published = { hub = "someone/other", scaling_factor = 2, shift_factor = 0.5 }

[models.other.options.extra]
type = "int"
default = 3
help = "more"
"""
)


def test_a_model_is_a_tokenizer_that_says_in_what_it_differs(tmp_path: Path) -> None:
    base, other = read_models(tmp_path, MODELS)
    assert (base.id, base.model, other.id, other.model) == ("my-codec", "", "other", "other")
    assert (other.title, other.licence, other.note) == ("Other", "CC0-1.0", "trained")
    assert other.latent == LatentSpec("continuous", 4, 8)
    assert other.published == Published("someone/other", scaling_factor=2, shift_factor=0.5)
    # The rest is common to both.
    assert (other.family, other.plugin, other.folder) == (base.family, base.plugin, base.folder)
    assert [*other.options] == [*base.options, "extra"]
    assert base.published is None
    assert read(tmp_path, FULL).model is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("models.other", "models.Other", "'models.Other' must be kebab-case"),
        ('title = "Other"\n', "", "missing key 'models.other.title'"),
        ('note = "trained"', 'version = "2"', "unknown key 'models.other.version'"),
        ("hub =", "hubs =", "unknown key 'models.other.published.hubs'"),
        (
            "scaling_factor = 2",
            'scaling_factor = "2"',
            "published.scaling_factor' must be a n",
        ),
    ],
)
def test_a_wrong_model_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MODELS
    with pytest.raises(ManifestError) as caught:
        read_models(tmp_path, MODELS.replace(old, new))
    assert message in str(caught.value)


def test_models_must_be_tables(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"key 'models\.other' must be a table"):
        read_models(tmp_path, FULL + "[models]\nother = 1")
