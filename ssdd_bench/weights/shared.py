"""Find tensors that two tokenizers share and that are stored once."""

from __future__ import annotations

from pathlib import Path

from ssdd_bench.errors import UnknownNameError, WeightsError
from ssdd_bench.plugins.manifest import SharedFile
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.weights.files import FOLDER, sha256_file


def encoder_of(path: Path) -> SharedFile | None:
    """Return what the manifest beside a shipped weight file says of its encoder, if anything."""
    for info in TOKENIZERS.all().values():
        if info.shipped and info.folder / FOLDER == path.parent:
            return info.shipped.encoders.get(path.name)
    return None


def find_encoder(path: Path) -> Path | None:
    """Find the file that holds the encoder of a shipped weight file; None if it has its own.

    Raises:
        WeightsError: the tokenizer that has the file is not installed, or the file is another one.
    """
    shared = encoder_of(path)
    if shared is None:
        return None
    try:
        found = TOKENIZERS.get(shared.tokenizer).folder / FOLDER / shared.file
    except UnknownNameError as error:
        raise WeightsError(
            f"{path}: its encoder is {shared.file} of the tokenizer '{shared.tokenizer}', which is "
            "not here. Install that tokenizer, or pass the path of a whole checkpoint"
        ) from error
    if sha256_file(found) != shared.sha256:
        raise WeightsError(
            f"{found}: not the file with the encoder of {path.name}: its sha256 is not "
            f"{shared.sha256}. Restore it"
        )
    return found
