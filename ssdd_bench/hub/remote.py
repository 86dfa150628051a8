"""Repositories on the Hugging Face Hub: list, download and commit, with errors of one line.

``$HF_ENDPOINT`` names another Hub. Tokens are those of huggingface_hub: ``hf auth login`` or
``$HF_TOKEN``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Final, Literal

from ssdd_bench.errors import UserError
from ssdd_bench.hub.findings import Finding, Problem
from ssdd_bench.hub.validate import limit_of
from ssdd_bench.plugins.paths import REPOSITORY
from ssdd_bench.weights.download import OFFLINE_REASON, is_offline
from ssdd_bench.weights.hub import REASONS, TIMEOUT_S

if TYPE_CHECKING:
    from huggingface_hub import HfApi

RepoType = Literal["model", "dataset"]
STATUSES: Final[Mapping[int, str]] = {
    401: "log in with hf auth login, or set HF_TOKEN",
    403: "your token may not write there",
    409: "another commit is in progress: run the command again",
    412: "it has changed in the meantime: run the command again",
}
"""Meanings of the Hub's answers that have no error class of their own."""


class HubError(UserError):
    """A repository on the Hub that cannot be read or written."""


@dataclass(frozen=True)
class Snapshot:
    """Some files of one commit of a repository.

    Attributes:
        commit: hash of the commit; "" for an empty repository.
        folder: where the files lie.
        names: their paths in the repository, each accepted by the caller.
        refused: paths that were not.
        large: sizes in bytes, by path, of wanted files that were not downloaded, being too large.
    """

    commit: str
    folder: Path
    names: tuple[str, ...]
    refused: tuple[str, ...]
    large: Mapping[str, int] = field(default_factory=dict)

    @property
    def too_large(self) -> tuple[Finding, ...]:
        """Findings about the files that were not downloaded."""
        return tuple(
            Finding(name, Problem.UNREADABLE, f"{size} bytes, more than {limit_of(name)}")
            for name, size in self.large.items()
        )


def ensure_repository(repo: str, kind: RepoType, private: bool = False) -> None:
    """Create a repository unless it exists.

    Raises:
        HubError: the network is forbidden or fails, or the Hub refuses.
    """
    with _speaking_with(repo) as api:
        api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True)


def fetch_snapshot(
    repo: str,
    wanted: Callable[[str], object],
    revision: str = "",
    kind: RepoType = "dataset",
) -> Snapshot:
    """Download some files of a repository into huggingface_hub's cache, but none too large.

    Args:
        repo: id such as ``someone/results``.
        wanted: is given the path of each file, and returns True if it is safe and wanted.
        revision: branch, tag or commit; "" for main.
        kind: of the repository.

    Raises:
        HubError: the network is forbidden or fails, or there is no such repository.
    """
    from huggingface_hub import snapshot_download

    with _speaking_with(repo) as api:
        describe = api.dataset_info if kind == "dataset" else api.model_info
        info = describe(repo, revision=revision or None, timeout=TIMEOUT_S, files_metadata=True)
        sizes = {one.rfilename: one.size or 0 for one in info.siblings or []}
        refused = tuple(name for name in sorted(sizes) if not wanted(name))
        chosen = sizes.keys() - set(refused)
        large = {name: sizes[name] for name in sorted(chosen) if sizes[name] > limit_of(name)}
        names = tuple(sorted(chosen - large.keys()))
        if not names:
            return Snapshot(info.sha or "", Path(), (), refused, large)
        folder = snapshot_download(
            repo,
            repo_type=kind,
            revision=info.sha,
            allow_patterns=list(names),
            endpoint=api.endpoint,
            etag_timeout=TIMEOUT_S,
        )
    return Snapshot(info.sha or "", Path(folder), names, refused, large)


def open_snapshot(
    repo: str | Path,
    wanted: Callable[[str], object],
    revision: str = "",
) -> Snapshot:
    """Return the files of a folder, or of a data set repository on the Hub.

    Args:
        repo: OWNER/NAME is a repository on the Hub; anything else is a folder, such as a clone in
            ``./clone``. Links in it are refused.
        wanted: see :func:`fetch_snapshot`.
        revision: of a repository on the Hub.

    Raises:
        HubError: see :func:`fetch_snapshot`; or there is no such folder.
    """
    if isinstance(repo, str) and REPOSITORY.fullmatch(repo):
        return fetch_snapshot(repo, wanted, revision)
    folder = Path(repo)
    if not os.path.isdir(folder):  # noqa: PTH112 (a Path fails on a name that is too long)
        raise HubError(f"'{repo!s:.99}' is neither OWNER/NAME on the Hub nor a folder")
    if revision:
        raise HubError(f"'{repo}' is a folder: leave the revision out, or check it out there")
    found = (Path(top, name) for top, _, names in os.walk(folder) for name in names)
    listed = {path.relative_to(folder).as_posix(): path.is_symlink() for path in found}
    names = tuple(name for name, link in sorted(listed.items()) if not link and wanted(name))
    return Snapshot("", folder, names, tuple(sorted(listed.keys() - set(names))))


def copy_snapshot(snapshot: Snapshot, folder: Path) -> dict[str, bytes]:
    """Copy files out of the cache, where they are links, which no check follows.

    Args:
        snapshot: whose names are paths of the layout, so that none leads out of ``folder``.
        folder: to copy to.

    Returns:
        The content of each file by its path in the repository. A file that is too large is cut
        off, so that it fails its check.
    """
    contents = {}
    for name in snapshot.names:
        with (snapshot.folder / name).open("rb") as file:
            contents[name] = file.read(limit_of(name) + 1)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not by way of a temporary file: its name, which is longer, may be too long for the disk.
        target.write_bytes(contents[name])
    return contents


def commit_files(
    repo: str,
    kind: RepoType,
    files: Mapping[str, bytes],
    message: str,
    parent: str = "",
    pull_request: bool = False,
) -> str:
    """Add or replace files of a repository in one commit; large ones go to its large storage.

    The Hub checks the metadata of a README.md before anything is uploaded.

    Args:
        repo: id of the repository.
        kind: of the repository.
        files: content by path.
        message: first line of the commit.
        parent: commit that the repository must still be at; "" for any.
        pull_request: True opens a pull request instead.

    Returns:
        URL of the commit or of the pull request.

    Raises:
        HubError: the network is forbidden or fails, the Hub refuses, or the repository has changed.
    """
    from huggingface_hub import CommitOperationAdd

    with _speaking_with(repo) as api:
        done = api.create_commit(
            repo,
            [CommitOperationAdd(name, data) for name, data in files.items()],
            commit_message=message,
            repo_type=kind,
            parent_commit=parent or None,
            create_pr=pull_request,
        )
    return str(done.pr_url or done.commit_url)


@contextmanager
def _speaking_with(repo: str) -> Iterator[HfApi]:
    """Return the Hub's interface, and turn its errors into one line."""
    from huggingface_hub import HfApi

    from ssdd_bench import __version__

    if not REPOSITORY.fullmatch(repo):
        raise HubError(f"'{repo}' is no repository on the Hub: write OWNER/NAME")
    if is_offline():
        raise HubError(f"{repo} cannot be reached: {OFFLINE_REASON}. Unset it")
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        yield HfApi(endpoint, library_name="ssdd-bench", library_version=__version__)
    except UserError:
        raise
    except Exception as error:  # errors of the transport differ between versions
        raise HubError(f"{repo} on the Hugging Face Hub: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Say what an error of huggingface_hub means."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    name = type(error).__name__
    if known := REASONS.get(name) or STATUSES.get(status):
        return known
    text = shorten(str(error), 300, placeholder=" ...")
    return f"{name}: {text}" if text else name
