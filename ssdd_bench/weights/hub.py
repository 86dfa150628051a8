"""Fetch models and other files from the Hugging Face Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssdd_bench.errors import WeightsError
from ssdd_bench.plugins.detect import PIPELINE_PART
from ssdd_bench.weights.download import OFFLINE_REASON, is_offline
from ssdd_bench.weights.files import sha256_file
from ssdd_bench.weights.layout import (
    CONFIG,
    INDEX,
    WEIGHTS,
    choose_weights,
    is_index,
    read_index,
    refuse_pipeline,
)

TIMEOUT_S = 10.0  # until the Hub's first answer

# Meanings of the errors of huggingface_hub.
REASONS = {
    "GatedRepoError": "accept its licence there and log in",
    "EntryNotFoundError": "no such file",
    "HFValidationError": "no id of a repository: write OWNER/NAME",
    "LocalEntryNotFoundError": "no connection, and it is not in the cache",
    "RemoteEntryNotFoundError": "no such file",
    "RepositoryNotFoundError": "no such repository, or a private one",
    "RevisionNotFoundError": "no such revision",
    "UnicodeEncodeError": "HF_TOKEN or the stored token is not ASCII: copy it again",
}

# States of a file for which the Hub raises one of these errors.
STATES: Mapping[str, Literal["gated", "absent"]] = {
    "GatedRepoError": "gated",
    "RemoteEntryNotFoundError": "absent",
    "EntryNotFoundError": "absent",
    "RepositoryNotFoundError": "absent",
    "RevisionNotFoundError": "absent",
}


@dataclass(frozen=True)
class HubFile:
    """State of one file on the Hub."""

    state: Literal["found", "gated", "absent", "unreachable"]
    reason: str = ""  # in words, unless it was found
    bytes: int | None = None  # None if the Hub does not tell
    sha256: str = ""  # of a large file; the Hub records another hash of a small one


def inspect_remote(repo: str, file: str, revision: str = "") -> HubFile:
    """Ask the Hub if it has a file, without downloading it; ``$HF_ENDPOINT`` names another Hub.

    Args:
        repo: id such as ``stabilityai/sd-vae-ft-mse``.
        file: its path in the repository.
        revision: branch, tag or commit; "" for main.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        url = hf_hub_url(repo, file, revision=revision or None, endpoint=endpoint)
        found = get_hf_file_metadata(url, timeout=TIMEOUT_S, endpoint=endpoint)
    except Exception as error:  # Errors of the transport differ between versions.
        return HubFile(STATES.get(type(error).__name__, "unreachable"), _reason(error))
    etag = found.etag or ""
    return HubFile("found", bytes=found.size, sha256=etag if len(etag) == 64 else "")


def model_files(folder: str = "") -> tuple[str, ...]:
    """Return the paths, in a repository, of a diffusers model that lies in a folder of it."""
    prefix = f"{folder}/" if folder else ""
    return (prefix + CONFIG, prefix + WEIGHTS)


def fetch(
    repo: str, files: Sequence[str], revision: str = "", optional: Sequence[str] = ()
) -> Path:
    """Return a folder with files of a repository on the Hub, downloaded unless they are cached.

    Args:
        repo: id such as ``stabilityai/sd-vae-ft-mse``.
        files: their paths in the repository; nothing else is downloaded.
        revision: branch, tag or commit; "" for main.
        optional: paths of files that the repository may lack.

    Raises:
        WeightsError: the network is forbidden or fails, there is no such file, or its content is
            not what the Hub records for it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = Path(
            snapshot_download(
                repo,
                revision=revision or None,
                allow_patterns=[*files, *optional],
                local_files_only=is_offline(),
                etag_timeout=TIMEOUT_S,
            )
        )
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = OFFLINE_REASON if is_offline() else _reason(error)
        raise _unreachable(repo, reason) from error
    for name in files:
        _check_present(repo, folder, name)
    for name in (*files, *optional):
        # The Hub records the sha256 of every large file, and its cache names the file by it.
        blob = (folder / name).resolve()
        if len(blob.name) == 64 and blob.is_file() and sha256_file(blob) != blob.name:
            raise WeightsError(
                f"{blob} does not have the sha256 of its name. Delete it and try again"
            )
    return folder


def _check_present(repo: str, folder: Path, name: str) -> None:
    """Refuse a snapshot of a repository that lacks a file."""
    if (folder / name).is_file():
        return
    if is_offline():
        raise _unreachable(f"{name} of {repo}", OFFLINE_REASON)
    raise WeightsError(
        f"{repo} has no file {name} on the Hugging Face Hub. Pass another revision, or the "
        "folder of the repository that has it"
    )


def _list_files(repo: str, revision: str) -> list[str]:
    """Return the paths of all files of a repository on the Hub."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(repo, revision=revision, timeout=TIMEOUT_S)
    except Exception as error:  # Errors of the transport differ between versions.
        raise _unreachable(repo, _reason(error)) from error
    return [one.rfilename for one in info.siblings or ()]


def _reason(error: Exception) -> str:
    return REASONS.get(type(error).__name__, type(error).__name__)


def _unreachable(what: str, reason: str) -> WeightsError:
    return WeightsError(
        f"{what} cannot be fetched from the Hugging Face Hub ({reason}). Download it elsewhere and "
        "pass its path as an option"
    )


def is_cached(repo: str, file: str, revision: str = "") -> bool:
    """Return True if a file of a repository is in the Hub's cache; the network is not asked."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, file, revision=revision or None), str)


def fetch_model(
    repo: str, subfolder: str = "", revision: str = "", files: Sequence[str] = ()
) -> Path:
    """Return a folder with the configuration and the weights of a diffusers model on the Hub.

    Weights in several files, a pickle or a variant are chosen as in a folder, see
    :func:`ssdd_bench.weights.layout.choose_weights`.

    Args:
        repo: id such as ``stabilityai/sd-vae-ft-mse``.
        subfolder: of the repository, in which the model lies.
        revision: branch, tag or commit; "" for main.
        files: paths in the repository, where these are known.

    Raises:
        WeightsError: see :func:`fetch`; or an index is damaged.
    """
    subfolder = subfolder.strip("/")
    if files:
        return fetch(repo, files, revision) / subfolder
    prefix = f"{subfolder}/" if subfolder else ""
    config, part = prefix + CONFIG, f"{PIPELINE_PART}/{CONFIG}"
    usual = [config, prefix + WEIGHTS, prefix + INDEX]
    root = fetch(repo, [], revision, optional=usual if subfolder else [*usual, part])
    if not subfolder:
        refuse_pipeline(root, repo)
    _check_present(repo, root, config)
    folder, commit = root / subfolder, root.name  # main may move between two downloads
    names = {path.name for path in folder.iterdir()}
    if names.isdisjoint({WEIGHTS, INDEX}) and not is_offline():
        listed = _list_files(repo, commit)
        names = {name.removeprefix(prefix) for name in listed if name.startswith(prefix)}
    chosen = choose_weights(names, repo)
    if chosen not in (WEIGHTS, INDEX) or chosen not in names:
        fetch(repo, [config, prefix + chosen], commit)
    if is_index(chosen):
        fetch(repo, [prefix + shard for shard in read_index(folder / chosen)], commit)
    return folder
