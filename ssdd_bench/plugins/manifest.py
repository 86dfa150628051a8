"""What a tokenizer says about itself in its tokenizer.toml, checked before anything trusts it.

The manifest is the only place where a tokenizer's id and options are written down. Reading one
imports neither torch nor the plugin, so that listing every tokenizer is quick.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, get_args

from ssdd_bench.api import LatentKind, LatentSpec
from ssdd_bench.errors import ManifestError, OptionError, UnknownNameError

FILE_NAME: Final = "tokenizer.toml"
ID: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
PLUGIN: Final = re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*")

OptionValue = int | float | str | bool

# Option types of a manifest: what their values are in Python, and in words.
OPTION_TYPES: Final[Mapping[str, tuple[Any, str]]] = {
    "int": (int, "an integer"),
    "float": (float, "a number"),
    "str": (str, "text"),
    "path": (str, "a path"),
    "bool": (bool, "true or false"),
}

# Keys of each table: (type, required).
TOKENIZER_KEYS: Final[Mapping[str, tuple[type, bool]]] = {
    "id": (str, True),
    "title": (str, True),
    "family": (str, True),
    "description": (str, True),
    "licence": (str, True),
    "version": (str, True),
    "note": (str, False),
    "stochastic": (bool, False),
    "plugin": (str, False),
    "requires": (list, False),
    "extra": (str, False),
    "paper": (str, False),
    "latent": (dict, False),
    "options": (dict, False),
    "published": (dict, False),
    "models": (dict, False),
}
# What a model changes of its manifest; the rest holds for all of them.
MODEL_KEYS: Final[Mapping[str, tuple[type, bool]]] = {
    name: (TOKENIZER_KEYS[name][0], name in ("title", "licence"))
    for name in (
        "title",
        "family",
        "description",
        "licence",
        "note",
        "stochastic",
        "requires",
        "extra",
        "paper",
        "latent",
        "options",
        "published",
    )
}
PUBLISHED_KEYS: Final[Mapping[str, tuple[type, bool]]] = {
    "hub": (str, False),
    "folder": (str, False),
    "file": (str, False),
    "revision": (str, False),
    "training_data": (str, False),
    "scaling_factor": (float, False),
    "shift_factor": (float, False),
    "normalisation": (str, False),
    "sha256": (dict, False),
}
LATENT_KEYS: Final[Mapping[str, tuple[type, bool]]] = {
    "kind": (str, True),
    "f": (int, True),
    "channels": (int, True),
    "bits_per_value": (float, False),
}
OPTION_KEYS: Final[Mapping[str, tuple[type, bool]]] = {
    "type": (str, True),
    "default": (object, True),
    "help": (str, True),
    "minimum": (float, False),
    "maximum": (float, False),
    "choices": (list, False),
}


@dataclass(frozen=True)
class OptionInfo:
    """One option of a tokenizer: its type, default and the values it takes.

    Attributes:
        name: a keyword argument of the plugin's ``load``.
        type: ``int``, ``float``, ``str``, ``bool`` or ``path`` (text in which ``~`` is expanded).
        default: what ``load`` receives where the user gives no value.
        help: one line, with the unit.
        minimum: smallest value of an ``int`` or ``float``, inclusive.
        maximum: largest one, inclusive.
        choices: the only values allowed; empty allows any.
    """

    name: str
    type: str
    default: OptionValue
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[OptionValue, ...] = ()

    @property
    def domain(self) -> str:
        """The values allowed, in words: ``an integer from 1 to 100``."""
        if self.choices:
            return "one of " + ", ".join(map(format_value, self.choices))
        words = OPTION_TYPES[self.type][1]
        if self.minimum is not None and self.maximum is not None:
            return f"{words} from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{words} of at least {self.minimum:g}"
        if self.maximum is not None:
            return f"{words} of at most {self.maximum:g}"
        return words

    def parse(self, text: str) -> OptionValue:
        """Convert what a user typed.

        Raises:
            OptionError: the text is no value of this option; says which ones are.
        """
        kind = OPTION_TYPES[self.type][0]
        try:
            value = {"true": True, "false": False}[text] if kind is bool else kind(text)
        except (KeyError, ValueError):
            raise self._refusal(text) from None
        return self.check(value)

    def check(self, value: Any) -> OptionValue:
        """Return a typed value, unless it lies outside the domain.

        Raises:
            OptionError: the type is another one, or the value is out of range.
        """
        kind = OPTION_TYPES[self.type][0]
        if kind is float and type(value) is int:
            value = float(value)
        if (
            type(value) is not kind
            or (kind is float and not math.isfinite(value))
            or (self.choices and value not in self.choices)
            or (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
        ):
            raise self._refusal(value)
        if self.type == "path" and value.startswith("~"):
            value = str(Path(value).expanduser())
        checked: OptionValue = value
        return checked

    def _refusal(self, value: Any) -> OptionError:
        return OptionError(f"option '{self.name}' must be {self.domain}, not {value!r}")


@dataclass(frozen=True)
class Published:
    """Weights that others published, in the words of their authors; empty where not known.

    Attributes:
        hub: repository on the Hugging Face Hub.
        folder: where in the repository the model lies.
        file: of the weights, where it has not the usual name.
        revision: commit that was looked at.
        training_data: what the weights were trained on.
        scaling_factor: latents leave the model as ``(z - shift_factor) * scaling_factor``.
        shift_factor: as above.
        normalisation: in words, where these two numbers do not say it.
        sha256: checksums of its files by name, where they were seen.
    """

    hub: str = ""
    folder: str = ""
    file: str = ""
    revision: str = ""
    training_data: str = ""
    scaling_factor: float = 1.0
    shift_factor: float = 0.0
    normalisation: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenizerInfo:
    """Everything known about a tokenizer without loading it.

    Attributes:
        id: kebab-case, unique among all tokenizers found.
        title: name for tables.
        family: kin it is compared with first, such as ``codec`` or ``kl-vae``.
        description: one sentence.
        licence: of the weights and the adapter, as an SPDX id where there is one.
        version: of the adapter, raised when its numbers change.
        folder: where the manifest and the plugin lie.
        source: ``built-in``, ``folder PATH`` or ``package NAME``.
        package: import name of the folder.
        note: a reservation shown beside every number, such as how the weights were trained.
        stochastic: whether decoding depends on its noise.
        plugin: ``module:function`` inside the folder; the function takes the options.
        options: by name, in the order of the manifest.
        latent: at default options; None where only the loaded model knows.
        requires: import names of libraries that may be absent.
        extra: extra of ssdd-bench that installs them; empty where their own names do.
        paper: URL.
        published: the weights it is known by, if there are any.
        model: which model of a manifest with several this is, given to the plugin's function as
            ``model``; empty for the manifest's own id, None where a manifest has no models.
    """

    id: str
    title: str
    family: str
    description: str
    licence: str
    version: str
    folder: Path
    source: str
    package: str
    note: str = ""
    stochastic: bool = False
    plugin: str = "plugin:load"
    options: Mapping[str, OptionInfo] = field(default_factory=dict)
    latent: LatentSpec | None = None
    requires: tuple[str, ...] = ()
    extra: str = ""
    paper: str = ""
    published: Published | None = None
    model: str | None = None

    def option(self, name: str) -> OptionInfo:
        """Look up one option.

        Raises:
            OptionError: there is none of this name; says which ones are near.
        """
        if not self.options:
            raise OptionError(f"{self.id}: unknown option '{name}': this tokenizer takes none")
        if name not in self.options:
            raise OptionError(f"{self.id}: {UnknownNameError('option', name, self.options)}")
        return self.options[name]

    def resolve_options(self, options: Mapping[str, Any]) -> dict[str, OptionValue]:
        """Check typed options and add the defaults: what ``load`` receives.

        Raises:
            OptionError: an option does not exist, or its value is of another type or out of range.
        """
        given = {}
        for name, value in options.items():
            option = self.option(name)
            try:
                given[name] = option.check(value)
            except OptionError as error:
                raise OptionError(f"{self.id}: {error}") from None
        return {name: given.get(name, option.default) for name, option in self.options.items()}


def load_manifest(path: Path, *, source: str = "", package: str = "") -> TokenizerInfo:
    """Read one tokenizer.toml, without the models in it.

    See :func:`load_manifests`.
    """
    return load_manifests(path, source=source, package=package)[0]


def load_manifests(path: Path, *, source: str = "", package: str = "") -> list[TokenizerInfo]:
    """Read one tokenizer.toml: the tokenizer, then each model of its table ``models``.

    A model is a tokenizer of its own, with the same plugin: ``[models.my-vae]`` gives it the id
    ``my-vae`` and says in what it differs; its options are added to the common ones.

    Args:
        path: the file; its folder holds the plugin.
        source: where it was found, in words; by default its folder.
        package: import name of its folder; by default its name in ``ssdd_bench.tokenizers``.

    Raises:
        ManifestError: the file is missing or damaged, or a key is unknown, missing or wrong.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # also malformed UTF-8
        raise ManifestError(f"{path}: not valid TOML: {error}") from error
    try:
        _check_table(data, TOKENIZER_KEYS, "")
        if not PLUGIN.fullmatch(data.get("plugin", "plugin:load")):
            raise ManifestError(f"key 'plugin' must be module:function, not '{data['plugin']}'")
        models = data.pop("models", {})
        entries = [{**data, "model": "" if models else None}]
        for name, table in models.items():
            if not isinstance(table, dict):
                raise ManifestError(f"key 'models.{name}' must be a table")
            _check_table(table, MODEL_KEYS, f"models.{name}.")
            options = {**data.get("options", {}), **table.get("options", {})}
            entries.append({**data, **table, "id": name, "model": name, "options": options})
        known = [_read_entry(entry) for entry in entries]
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from None
    return [
        TokenizerInfo(
            **entry,
            folder=path.parent,
            source=source or f"folder {path.parent.parent}",
            package=package or f"ssdd_bench.tokenizers.{path.parent.name}",
        )
        for entry in known
    ]


def format_value(value: OptionValue) -> str:
    """Write an option's value as a user types it; :meth:`OptionInfo.parse` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _read_entry(data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of TokenizerInfo that a manifest gives."""
    if not ID.fullmatch(data["id"]):
        raise ManifestError(f"key 'id' must be kebab-case such as my-codec, not '{data['id']}'")
    if not all(isinstance(x, str) and x.isidentifier() for x in data.get("requires", ())):
        raise ManifestError("key 'requires' must list top-level import names")
    return {
        **data,
        "latent": _read_latent(data["latent"]) if "latent" in data else None,
        "options": {
            name: _read_option(name, table) for name, table in data.get("options", {}).items()
        },
        "requires": tuple(data.get("requires", ())),
        "published": _read_published(data["published"]) if "published" in data else None,
    }


def _read_published(table: Mapping[str, Any]) -> Published:
    _check_table(table, PUBLISHED_KEYS, "published.")
    return Published(**table)


def _read_latent(table: Mapping[str, Any]) -> LatentSpec:
    _check_table(table, LATENT_KEYS, "latent.")
    if table["kind"] not in get_args(LatentKind):
        raise ManifestError(f"key 'latent.kind' must be one of {', '.join(get_args(LatentKind))}")
    if table["f"] < 1 or table["channels"] < 0:
        raise ManifestError("keys 'latent.f' and 'latent.channels' must not be negative, 'f' not 0")
    if (table["kind"] == "discrete") != ("bits_per_value" in table):
        raise ManifestError("key 'latent.bits_per_value' goes with kind 'discrete' and no other")
    return LatentSpec(**table)


def _read_option(name: str, table: Any) -> OptionInfo:
    where = f"options.{name}."
    if not isinstance(table, dict):
        raise ManifestError(f"key 'options.{name}' must be a table")
    if not name.isidentifier() or not name.islower():
        raise ManifestError(f"key 'options.{name}' must be a lower-case Python name")
    _check_table(table, OPTION_KEYS, where)
    if table["type"] not in OPTION_TYPES:
        raise ManifestError(f"key '{where}type' must be one of {', '.join(OPTION_TYPES)}")
    if table["type"] not in ("int", "float") and {"minimum", "maximum"} & table.keys():
        raise ManifestError(f"key '{where}minimum' and 'maximum' go with numbers only")
    option = OptionInfo(name=name, **{**table, "choices": tuple(table.get("choices", ()))})
    try:
        return replace(option, default=option.check(option.default))
    except OptionError as error:
        raise ManifestError(f"key '{where}default': {error}") from None


def _check_table(table: Any, keys: Mapping[str, tuple[type, bool]], where: str) -> None:
    """Refuse a key that is unknown, missing or of another type."""
    for name, value in table.items():
        if name not in keys:
            known = [where + key for key in keys]
            raise ManifestError(str(UnknownNameError("key", where + name, known)))
        kind = keys[name][0]
        fits = isinstance(value, int | float if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind not in (bool, object)):
            raise ManifestError(f"key '{where}{name}' must be of type {kind.__name__}")
    for name, (_, required) in keys.items():
        if required and name not in table:
            raise ManifestError(f"missing key '{where}{name}'")
