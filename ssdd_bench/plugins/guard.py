"""Calls of a plugin: what they change in the program is put back and named."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import nn

from ssdd_bench.api.formats import PRECISIONS, Precision
from ssdd_bench.errors import DataError, OutputError, PluginError, SourceError

PATCHABLE: Final[Mapping[str, Any]] = {
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.nn.functional": nn.functional,
    "torch.nn.Module": nn.Module,
}
"""Owners of functions whose replacement changes what others compute."""
TAGGING: Final = "torch._dynamo.mutation_guard"
"""Module whose wrappers of ``nn.Module``'s methods the first compilation of a process installs."""


@dataclass(frozen=True)
class _Setting:
    """A global setting, by how it is read and put back.

    Attributes:
        get: read a value.
        put: set it.
        effect: what a value does. A change without another effect is put back and not named.
    """

    get: Callable[[], Any]
    put: Callable[[Any], object]
    effect: Callable[[Any], object] = lambda value: value


def _attribute(owner: Any, name: str) -> _Setting:
    return _Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _get_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # It was deleted.
        return ""


def _put_folder(path: str) -> None:
    with suppress(OSError):  # It was deleted meanwhile.
        os.chdir(path)


SETTINGS: Final[Mapping[str, _Setting | Precision]] = {
    "torch's number of threads": _Setting(torch.get_num_threads, torch.set_num_threads),
    **{f"torch's precision of {what}": one for what, one in PRECISIONS.items()},
    "torch's default dtype": _Setting(torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": _Setting(torch.get_default_device, torch.set_default_device),
    "torch's deterministic algorithms": _Setting(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
    ),
    "torch.backends.mkldnn.enabled": _Setting(
        torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled
    ),
    "torch.backends.cudnn.enabled": _attribute(torch.backends.cudnn, "enabled"),
    "torch.backends.cudnn.benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "torch.backends.cudnn.deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "numpy's handling of errors": _Setting(np.geterr, lambda value: np.seterr(**value)),
    "the working directory": _Setting(_get_folder, _put_folder),
    "PIL.Image.MAX_IMAGE_PIXELS": _attribute(Image, "MAX_IMAGE_PIXELS"),
}


class Guard:
    """Calls of one plugin. What they change in the program is put back and remembered.

    Args:
        name: of the plugin, for errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._changed: dict[str, None] = {}

    @property
    def changed(self) -> tuple[str, ...]:
        """The global settings that calls have changed, each once."""
        return tuple(self._changed)

    def warnings(self, doing: str) -> tuple[str, ...]:
        """Say what calls have changed while they did something, such as "loading"."""
        return tuple(changed_warning(self.name, doing, one) for one in self.changed)

    @contextmanager
    def calls(self) -> Iterator[None]:
        """Make calls of the plugin inside this context.

        A process that a call forks ends where it would leave the context.

        Raises:
            PluginError: a call tried to end the program, or raised an error that stands for the
                images or the disk, which are not the plugin's.
        """
        settings = {name: one.get() for name, one in SETTINGS.items()}
        functions = {place: dict(vars(owner)) for place, owner in PATCHABLE.items()}
        environment = dict(os.environ)
        process = os.getpid()
        try:
            yield
        except SystemExit as error:
            raise PluginError(
                f"{self.name} called sys.exit({error.code!r}): raise an error instead"
            ) from error
        except (DataError, SourceError, OutputError) as error:
            raise PluginError(f"{self.name}: {error}") from error
        finally:
            if os.getpid() != process:  # a fork of the plugin's, which would do our work once more
                os._exit(1)
            self._restore(settings, functions, environment)

    def _restore(
        self,
        settings: Mapping[str, Any],
        functions: Mapping[str, Mapping[str, Any]],
        environment: Mapping[str, str],
    ) -> None:
        for name, before in settings.items():
            setting = SETTINGS[name]
            if (after := setting.get()) != before:
                setting.put(before)
                if setting.effect(after) != setting.effect(before):
                    self._changed[name] = None
        for place, attributes in functions.items():
            owner = PATCHABLE[place]
            now = vars(owner)
            for name, before in attributes.items():
                if (after := now.get(name)) is before or not callable(before):
                    continue
                if _unwrapped(after) is not _unwrapped(before):
                    setattr(owner, name, before)
                    self._changed[f"{place}.{name}"] = None
            for name in now.keys() - attributes.keys():
                if any(name in vars(base) for base in getattr(owner, "__mro__", ())[1:]):
                    delattr(owner, name)  # it hid what the class inherits
                    self._changed[f"{place}.{name}"] = None
        for name, text in environment.items():  # further variables are common and harmless
            if os.environ.get(name) != text:
                os.environ[name] = text
                self._changed[f"the environment variable {name}"] = None


@contextmanager
def same_folder() -> Iterator[None]:
    """Return to the working directory at the end, in which relative paths of users lie."""
    before = _get_folder()
    try:
        yield
    finally:
        if _get_folder() != before:
            _put_folder(before)


def changed_warning(name: str, doing: str, setting: str) -> str:
    """Say that a plugin has changed a global setting while it did something."""
    return f"{name}: {doing} it changed {setting}, which others use; it was put back"


def _unwrapped(function: Any) -> Any:
    """Return what PyTorch itself has wrapped, for compiled graphs: to keep it out, or to see it."""
    code = getattr(function, "__code__", None)
    if code is not None and code.co_filename == torch._compile.__file__:
        return getattr(function, "__wrapped__", function)
    while getattr(function, "__module__", None) == TAGGING:
        wrapped = [*inspect.getclosurevars(function).nonlocals.values()]
        if len(wrapped) != 1:
            break
        function = wrapped[0]
    return function
