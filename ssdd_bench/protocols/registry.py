"""Find protocols: ours, those of installed packages, and those in users' files.

A protocol is a TOML file that states every setting, or names another one as its ``base`` and
states those that differ. An entry point of ``ssdd_bench.protocols`` has the protocol's id as name.
``[[superseded]]`` names the hash of a former version and what it did otherwise.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ssdd_bench.arguments import texts
from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.plugins.discovery import BUILT_IN, Place, Registry
from ssdd_bench.protocols.schema import AnyProtocol, GenerationProtocol, Protocol
from ssdd_bench.results.records import read_record, read_toml

FOLDER: Final = Path(__file__).parent
# The order of listing; a base is one of these.
OURS: Final = ("default-v1", "ssdd-paper-v1", "ldm-v1", "adm-v1", "gfid-v1")
KINDS: Final[dict[Any, type[AnyProtocol]]] = {
    "reconstruction": Protocol,
    "generation": GenerationProtocol,
}
VERSIONED: Final = re.compile(r"[a-z][a-z0-9-]*-v[1-9]\d*")


def get_protocol(name: str | Path | Protocol) -> Protocol:
    """Look up a protocol of reconstructions, which is what a run measures.

    Raises:
        UserError: see :func:`find_protocol`; or the protocol is about generated images.
    """
    protocol = find_protocol(name)
    if isinstance(protocol, GenerationProtocol):
        raise UserError(
            f"protocol '{protocol.id}' scores samples of a model of latents, and a run measures "
            "reconstructions: take default-v1, or see `ssdd-bench list protocols`"
        )
    return protocol


def find_protocol(name: str | Path | AnyProtocol) -> AnyProtocol:
    """Look up a protocol of either kind, by its id or in a file whose name ends in ``.toml``.

    An object is returned as it is.

    Raises:
        UnknownNameError: no such protocol; names the nearest.
        UserError: the file, or the package that brings the protocol, is wrong.
    """
    if isinstance(name, Protocol | GenerationProtocol):
        return name
    (name,) = texts("protocol", name)
    if not name.endswith(".toml"):
        return PROTOCOLS.get(name)
    path = Path(name)
    if path.stem in PROTOCOLS.all():
        raise UserError(f"{name}: there is a protocol '{path.stem}' already: rename the file")
    return _load(path, path.stem)


def _load(path: Path, protocol_id: str) -> AnyProtocol:
    said = read_toml(path)
    if not VERSIONED.fullmatch(protocol_id):
        raise UserError(f"{path}: '{protocol_id}' has no version: use a name such as my-lab-v1")
    if "base" in said:
        base = said.pop("base")
        if base not in OURS:
            raise UserError(f"{path}: {UnknownNameError('base', str(base), OURS)}")
        settings = _load(FOLDER / f"{base}.toml", base).settings()
        del settings["id"], settings["description"]
        said = settings | {"metrics": list(settings["metrics"])} | said
    kind = said.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"{path}: key 'kind' must be one of {', '.join(KINDS)}, or name a base")
    superseded = {"superseded": said.pop("superseded", [])}
    return read_record(KINDS[kind], said | superseded, str(path), fixed={"id": protocol_id})


PROTOCOLS: Final = Registry(
    "protocol",
    "ssdd_bench.protocols",
    "protocol.toml",
    lambda: [Place(name, BUILT_IN, FOLDER / f"{name}.toml", "") for name in OURS],
    lambda place: {place.name: _load(place.file, place.name)},
)
