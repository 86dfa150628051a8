"""Experiment trackers as one: accelerate's TensorBoard, Weights & Biases, Trackio and MLflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ssdd_bench.errors import PluginError, reason_of
from ssdd_bench.install import install_command

logger = logging.getLogger(__name__)

TrackerName = Literal["tensorboard", "wandb", "trackio", "mlflow"]
"""Name of a tracker, of its package, and of the extra that installs it."""
TRACKERS: Final[tuple[TrackerName, ...]] = get_args(TrackerName)
PROJECT: Final = "ssdd-bench"
"""Project of Weights & Biases and Trackio, experiment of MLflow."""
MAX_TEXT: Final = 250
"""Longest text in the configuration of a run; MLflow takes no longer one from older versions."""

# Variables by which accelerate finds other processes.
_LAUNCHED: Final = (
    *("LOCAL_RANK", "RANK", "WORLD_SIZE"),
    *("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"),
)


class Trackers:
    """Running trackers, which take the same numbers; may be none.

    See :func:`start_trackers`.
    """

    def __init__(self, running: Sequence[Any] = ()) -> None:
        self._running = list(running)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers by name. A tracker that fails gets no more: the work goes on, with a warning.

        Args:
            values: names such as ``train/l1``.
            step: iteration or number of the job; never less than the one before.
        """
        for tracker in tuple(self._running):
            try:
                tracker.log(dict(values), step=step)
            except Exception as error:
                self._running.remove(tracker)
                logger.warning("%s is not followed any more: %s", tracker.name, reason_of(error))


def check_trackers(names: Iterable[TrackerName]) -> None:
    """Check that the packages of trackers are installed.

    Raises:
        PluginError: one is not; says how to install it.
    """
    for name in names:
        if find_spec(name) is None or find_spec("accelerate") is None:
            raise PluginError(f"{name} is not installed here: {install_command(name)}")


@contextmanager
def start_trackers(
    names: Sequence[TrackerName], folder: Path, name: str, config: Mapping[str, Any]
) -> Iterator[Trackers]:
    """Start trackers in this process alone, and finish them at the end.

    Where they write is theirs to say: TensorBoard to ``folder/tensorboard``, Weights & Biases to
    ``folder/wandb`` and its server, Trackio to ``$TRACKIO_DIR``, MLflow to
    ``$MLFLOW_TRACKING_URI``.

    Args:
        names: of the trackers; may be none.
        folder: of the training or of the results.
        name: of the run.
        config: settings, nested tables of plain values.

    Raises:
        PluginError: a package is missing, or a tracker does not start.
    """
    check_trackers(names)
    running: list[Any] = []
    try:
        for one in dict.fromkeys(names):
            running.append(_start(one, folder, name, flatten(config)))
        yield Trackers(running)
    finally:
        for tracker in running:
            try:
                tracker.finish()
            except Exception as error:  # What is measured or trained is on disk.
                logger.warning("%s does not finish: %s", tracker.name, reason_of(error))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str | float | bool]:
    """Flatten nested tables: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``, lists become text."""
    flat: dict[str, str | float | bool] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            plain = isinstance(value, bool | int | float)
            flat[f"{prefix}{key}"] = value if plain else str(value)[:MAX_TEXT]
    return flat


@contextmanager
def _alone() -> Iterator[None]:
    """Hide the variables of launchers: accelerate would wait for the other processes."""
    hidden = {key: os.environ.pop(key) for key in _LAUNCHED if key in os.environ}
    try:
        yield
    finally:
        os.environ |= hidden


def _start(name: TrackerName, folder: Path, run: str, config: dict[str, Any]) -> Any:
    """Start one of accelerate's trackers, in a state without other processes."""
    from accelerate.state import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    starts: dict[TrackerName, tuple[str, dict[str, Any]]] = {
        "tensorboard": ("tensorboard", {"logging_dir": folder}),
        "wandb": (PROJECT, {"dir": str(folder), "name": run}),
        "trackio": (PROJECT, {"name": run}),
        "mlflow": (PROJECT, {"run_name": run}),
    }
    project, options = starts[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone():
            PartialState(cpu=True)  # accelerate's state of this process; a trainer has made it
        tracker = LOGGER_TYPE_TO_CLASS[name](project, **options)
        tracker.main_process_only = False  # this process is the one that logs
        tracker.start()
        tracker.store_init_configuration(config)
    except Exception as error:
        raise PluginError(f"{name} does not start: {reason_of(error)}") from error
    return tracker
