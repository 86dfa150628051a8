"""Manifests: ``tokenizer.toml``, the description of a tokenizer that is read without loading it.

The manifest is the only place where a tokenizer's id and options are written down. Reading one
imports neither torch nor the plugin, so that listing every tokenizer is quick.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from ssdd_bench.api import LatentSpec
from ssdd_bench.errors import ManifestError, OptionError, UnknownNameError, UserError
from ssdd_bench.plugins.options import OptionInfo, OptionValue, read_options
from ssdd_bench.results.records import Rule, read_record, read_toml

FILE_NAME: Final = "tokenizer.toml"
ID: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LOCATION: Final = re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*")
KEBAB_CASE: Final = Rule("kebab-case such as my-codec", ID.fullmatch)
IN_MODULE: Final = Rule("module:name", LOCATION.fullmatch)
IMPORT_NAME: Final = Rule("a top-level import name", str.isidentifier)


@dataclass(frozen=True)
class Published:
    """Weights that others published, as their authors describe them; empty if not known.

    Attributes:
        hub: repository on the Hugging Face Hub.
        folder: of the model in the repository.
        file: of the weights, if it has an unusual name.
        revision: commit that was looked at.
        training_data: images that the weights were trained on.
        scaling_factor: latents leave the model as ``(z - shift_factor) * scaling_factor``.
        shift_factor: as above.
        normalisation: in words, if these two numbers do not describe it.
        sha256: checksums of its files by name, if recorded.
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
    """Description of a tokenizer, known without loading it.

    Attributes:
        id: kebab-case, unique among all tokenizers found.
        title: name for tables.
        family: display group of its kin, such as ``kl-vae``; nothing hangs on its words.
        description: one sentence.
        licence: of the weights and the adapter, as an SPDX id where there is one.
        version: of the adapter, raised when its numbers change.
        folder: where the manifest and the plugin lie.
        source: ``built-in``, ``folder PATH`` or ``package NAME``.
        package: import name of the folder.
        note: a reservation shown beside every number, such as how the weights were trained.
        role: ``tokenizer``; ``codec`` for file formats, ranked only among themselves; ``control``
            for trivial ones that bound the scale and are never ranked.
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

    id: Annotated[str, KEBAB_CASE]
    title: str
    family: str
    description: str
    licence: str
    version: str
    folder: Path
    source: str
    package: str
    note: str = ""
    role: Literal["tokenizer", "codec", "control"] = "tokenizer"
    stochastic: bool = False
    plugin: Annotated[str, IN_MODULE] = "plugin:load"
    options: Mapping[str, OptionInfo] = field(default_factory=dict)
    latent: LatentSpec | None = None
    requires: tuple[Annotated[str, IMPORT_NAME], ...] = ()
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
        source: ``built-in``, ``folder PATH`` or ``package NAME``; by default its folder.
        package: import name of its folder; by default its name in ``ssdd_bench.tokenizers``.

    Raises:
        ManifestError: the file is missing or damaged, or a key is unknown, missing or wrong.
    """
    text = str(path)
    given = {
        "folder": path.parent,
        "source": source or f"folder {path.parent.parent}",
        "package": package or f"ssdd_bench.tokenizers.{path.parent.name}",
    }
    try:
        base = read_toml(path)
        models = read_record(dict[str, dict[str, Any]], base.pop("models", {}), text, "models")
        found = [_read_entry(base, text, "", given | {"model": "" if models else None})]
        given |= {"version": found[0].version, "plugin": found[0].plugin}
        own = {"id", "version", "plugin", "title", "licence"}  # the rest holds for every model
        shared = {key: value for key, value in base.items() if key not in own}
        for name, table in models.items():
            where = f"models.{name}"
            if not ID.fullmatch(name):
                raise UserError(f"{path}: key '{where}' must be {KEBAB_CASE.words}")
            options = read_record(
                dict[str, Any], table.get("options", {}), text, f"{where}.options"
            )
            entry = shared | table | {"options": shared.get("options", {}) | options}
            found.append(_read_entry(entry, text, where, given | {"id": name, "model": name}))
    except UserError as error:
        raise ManifestError(str(error)) from None
    return found


def _read_entry(
    data: Mapping[str, Any], source: str, where: str, given: Mapping[str, Any]
) -> TokenizerInfo:
    """Read one tokenizer of a manifest, and check what no single key shows."""
    prefix = f"{where}." if where else ""
    options = read_options(data.get("options", {}), source, f"{prefix}options")
    rest = {key: value for key, value in data.items() if key != "options"}
    given = {**given, "options": options}
    info = read_record(TokenizerInfo, rest, source, where, optional=True, fixed=given)
    if latent := info.latent:
        key = f"{source}: key '{prefix}latent."
        if latent.f < 1 or latent.channels < 0:
            name = "channels" if latent.channels < 0 else "f"
            raise UserError(f"{key}{name}' is too small: f is 1 or more, channels 0 or more")
        if (latent.kind == "discrete") != (latent.bits_per_value is not None):
            raise UserError(f"{key}bits_per_value' goes with kind 'discrete' and no other")
    return info
