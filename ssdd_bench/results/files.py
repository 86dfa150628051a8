"""Atomic writes: a file is complete or absent, whatever stops the program."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError

from ssdd_bench.errors import OutputError

LOCK_PREFIX: Final = ".ssdd-bench-"
"""Begin of the names of the hidden files that lock a folder, by which it is known as ours."""


def write_atomically(path: Path, write: Callable[[Path], object], durable: bool = True) -> None:
    """Let ``write`` fill a temporary file beside ``path``, which then takes its place.

    An older file is replaced only by a whole one; missing folders are made.

    Args:
        path: of the file.
        write: is given the path of the temporary file.
        durable: True also outlasts a power cut; False is for files with a checksum that can be made
            again.

    Raises:
        OutputError: the folder cannot be written.
    """
    # Processes on several machines may have one number.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:  # the latter hides the system's error
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise OutputError(f"cannot write {path}: {reason}; choose another folder") from error


def write_bytes(path: Path, data: bytes, durable: bool = True) -> Path:
    """Write a whole file, as :func:`write_atomically`, and return its path.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_atomically(path, lambda target: target.write_bytes(data), durable)
    return path


def write_text(path: Path, text: str, durable: bool = True) -> Path:
    """Write text in UTF-8 and return its path; bytes of a path that are not UTF-8 are escaped.

    Raises:
        OutputError: the folder cannot be written.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"), durable)


def write_json(path: Path, data: Any, durable: bool = True) -> None:
    """Write plain data as indented JSON with sorted keys.

    Raises:
        OutputError: the folder cannot be written.
        ValueError: a number is NaN or infinite, which is not JSON; nothing is written.
    """
    write_text(path, json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n", durable)
