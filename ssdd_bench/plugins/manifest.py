"""Manifests: ``tokenizer.toml``, the one place where a tokenizer's id and options stand.

Reading one imports neither torch nor the plugin, so that listing every tokenizer is quick.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from ssdd_bench.api import LatentSpec, Tokenizer
from ssdd_bench.errors import ManifestError, OptionError, UnknownNameError, UserError
from ssdd_bench.install import install_command
from ssdd_bench.plugins.discovery import Place
from ssdd_bench.plugins.options import OptionInfo, OptionValue, read_options
from ssdd_bench.results.records import Rule, read_record, read_toml
from ssdd_bench.results.schema import WeightsOrigin

FILE_NAME: Final = "tokenizer.toml"
ID: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
KEBAB_CASE: Final = Rule("kebab-case such as my-codec", ID.fullmatch)
IN_MODULE: Final = Rule("module:name", re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*").fullmatch)
SHA256: Final = Rule("64 lower-case hexadecimal digits", re.compile("[0-9a-f]{64}").fullmatch)
IMPORT_NAME: Final = Rule("a top-level import name", str.isidentifier)

Kind = Literal[
    "autoencoder-kl",
    "diffusers-model",
    "hub",
    "onnx-program",
    "ssdd-checkpoint",
    "tiny-autoencoder",
    "torchscript-program",
]
"""Kinds of models. ``autoencoder-kl`` is a weights file with a card of its configuration, and
``hub`` a repository on the Hugging Face Hub; the others are named by their format."""

Fact = Literal["files", "licence", "latents"]
FACTS: Final[tuple[Fact, ...]] = get_args(Fact)
"""Facts about published weights: that the files are there; their licence; f, channels and
normalisation of the latents."""
URL: Final = Rule("an address that begins with https://", lambda text: text.startswith("https://"))
OF_FACTS: Final = Rule(f"by {', '.join(FACTS)}", lambda facts: facts.keys() <= set(FACTS))
DAY: Final = Rule("a day such as 2026-11-26, or empty", re.compile(r"(\d{4}-\d\d-\d\d)?").fullmatch)


@dataclass(frozen=True)
class Published:
    """Weights that others published, as their authors describe them; empty if not known."""

    hub: str = ""  # repository on the Hugging Face Hub
    folder: str = ""  # of the model in the repository
    files: tuple[str, ...] = ()  # paths in the repository; empty for the layout of diffusers
    revision: str = ""  # commit that was looked at
    training_data: str = ""
    parameters: int = 0  # of the encoder and the decoder; 0 if not known
    scaling_factor: float = 1.0  # latents leave as ``(z - shift_factor) * scaling_factor``
    shift_factor: float = 0.0
    normalisation: str = ""  # in words, if these two numbers do not describe it
    bytes: Mapping[str, int] = field(default_factory=dict)  # of its files by path, if recorded
    sha256: Mapping[str, str] = field(default_factory=dict)  # of its files by path, if recorded
    confirmed: Annotated[Mapping[str, Annotated[str, URL]], OF_FACTS] = field(default_factory=dict)
    """Address of the public document that states it, by fact."""
    unconfirmed: tuple[Fact, ...] = ()  # facts that no public document was found for
    seen: Annotated[str, DAY] = ""  # day on which the documents were looked up


@dataclass(frozen=True)
class SharedFile:
    """Tensors of a weight file that lie in the folder of another tokenizer."""

    tokenizer: Annotated[str, KEBAB_CASE]  # whose folder of weights has them
    file: str  # name there
    sha256: Annotated[str, SHA256]  # of that file


@dataclass(frozen=True)
class Shipped:
    """Weights that lie in the plugin's folder."""

    note: str  # shown beside every number of these weights, such as how they were trained
    sha256: Mapping[str, str]  # of the files by name
    encoders: Mapping[str, SharedFile] = field(default_factory=dict)
    """Encoder of a file, by the name of that file; the others hold their own."""
    former: tuple[Annotated[str, SHA256], ...] = ()
    """SHA-256 of files that held the same networks before, stored in another way."""

    def checksums(self) -> set[str]:
        """Collect the SHA-256 of all files that hold shipped weights, now or before."""
        shared = {one.sha256 for one in self.encoders.values()}
        return {*self.sha256.values(), *shared, *self.former}


@dataclass(frozen=True)
class MiniWeights:
    """Small SSDD networks shipped with a tokenizer, under a name unique among all tokenizers."""

    options: Mapping[str, Any] = field(default_factory=dict)  # of the tokenizer, which select them
    channel_mean: tuple[float, ...] = ()  # of the latents of a set of images, by channel
    channel_std: tuple[float, ...] = ()


@dataclass(frozen=True)
class TokenizerInfo:
    """Description of a tokenizer, known without loading it."""

    id: Annotated[str, KEBAB_CASE]
    title: str  # for tables
    family: str  # display group, such as ``kl-vae``
    description: str  # one sentence
    licence: str  # of the weights and the adapter, as an SPDX id where there is one
    version: str  # of the adapter, raised when its numbers change
    folder: Path  # of the manifest and the plugin
    source: str  # ``built-in``, ``folder PATH`` or ``package NAME``
    package: str  # import name of the folder
    note: str = ""  # shown beside every number, whatever the weights
    role: Literal["tokenizer", "codec", "control"] = "tokenizer"
    """Codecs are ranked among themselves; controls bound the scale and are never ranked."""
    stochastic: bool = False  # decoding depends on its noise
    plugin: Annotated[str, IN_MODULE] = "plugin:load"  # a function that takes the options
    options: Mapping[str, OptionInfo] = field(default_factory=dict)
    latent: LatentSpec | None = None  # at default options; None where only the model knows
    requires: tuple[Annotated[str, IMPORT_NAME], ...] = ()  # libraries that may be absent
    extra: str = ""  # extra of ssdd-bench that installs them; empty where their own names do
    paper: str = ""  # URL
    published: Published | None = None  # the weights that it is known by
    shipped: Shipped | None = None  # those beside the plugin
    accepts: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    """Options that take a path which is given instead of an id, by the kind of its content: one for
    the model, or two for the encoder and the decoder."""
    mini: Mapping[str, MiniWeights] = field(default_factory=dict)  # for `ssdd_bench.diffusers`
    model: str | None = None
    """One of the manifest's ``models``, given to the plugin's function as ``model``; empty for the
    manifest's own id, None where a manifest has no models."""

    def missing(self) -> str:
        """Name the required libraries that are absent, with the command that installs them."""
        missing = [name for name in self.requires if importlib.util.find_spec(name) is None]
        if not missing:
            return ""
        command = install_command(self.extra) if self.extra else f"pip install {' '.join(missing)}"
        return f"needs {', '.join(missing)}: {command}"

    def weights_origin(self, weights: Mapping[str, str]) -> WeightsOrigin | None:
        """Tell whose weights ran, by their checksums.

        Args:
            weights: SHA-256 of the files by name, as a result records them.

        Returns:
            None for a tokenizer without weights. ``unverified`` are weights under the name of
            published ones of which no checksum is recorded.
        """
        found = set(weights.values())
        if not found:
            return None
        if self.shipped and found <= self.shipped.checksums():
            return "shipped"
        if self.published is None:
            return "other"
        known = self.published.sha256
        if found <= set(known.values()):
            return "published"
        names = {path.rpartition("/")[2] for path in known}
        return "other" if weights.keys() & names else "unverified"

    def note_on(self, origin: WeightsOrigin | None, given: bool = True) -> str:
        """Return what is shown beside numbers of such weights.

        Args:
            origin: from :meth:`weights_origin`.
            given: True if the user named the weights; others come from the publisher.
        """
        found = [self.note]
        if origin == "shipped" and self.shipped:
            found.append(self.shipped.note)
        if origin == "other" and self.published:
            found.append(f"other weights than those published as {self.id}")
        if origin == "unverified" and given:
            found.append(f"weights not compared with those published as {self.id}: no checksum")
        return "; ".join(filter(None, found))

    def option(self, name: str) -> OptionInfo:
        """Look up one option, or raise an ``OptionError`` with the names that are near."""
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

    def recorded_options(
        self, options: Mapping[str, Any], tokenizer: Tokenizer
    ) -> dict[str, OptionValue]:
        """Return all options for the record, with what the loaded tokenizer chose itself."""
        recorded = {}
        for name, value in self.resolve_options(options).items():
            option = self.options[name]
            if option.auto is not None and value == option.auto:
                value = getattr(tokenizer, name)
            if not option.added or value != option.default:
                recorded[name] = value
        return recorded


def load_manifest(place: Place) -> list[TokenizerInfo]:
    """Read one tokenizer.toml: the tokenizer, then each model of its table ``models``.

    A model is a tokenizer of its own, with the same plugin: ``[models.my-vae]`` gives it the id
    ``my-vae`` and holds the differences; its options are added to the common ones.

    Raises:
        ManifestError: the file is missing or damaged, or a key is unknown, missing or wrong.
    """
    path, text = place.file, str(place.file)
    given = {"folder": path.parent, "source": place.source, "package": place.package}
    try:
        base = read_toml(path)
        models = read_record(dict[str, dict[str, Any]], base.pop("models", {}), text, "models")
        found = [_read_entry(base, text, "", given | {"model": "" if models else None})]
        given |= {"version": found[0].version, "plugin": found[0].plugin}
        own = {
            "id",
            "version",
            "plugin",
            "title",
            "licence",
            "accepts",
        }  # the rest holds for every model
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
    if unknown := {one for names in info.accepts.values() for one in names} - info.options.keys():
        raise UserError(f"{source}: key '{prefix}accepts': no option '{min(unknown)}'")
    if info.latent and (problem := info.latent.problem()):
        raise UserError(f"{source}: key '{prefix}latent': {problem}")
    return info
