"""Results of a run in trackers: each job's scores under its name, at its number."""

from pathlib import Path

from ssdd_bench.results.store import load_results
from ssdd_bench.tracking.results import result_logger, result_values
from ssdd_bench.tracking.trackers import Trackers

MINI = Path(__file__).parents[2] / "results" / "mini"


class Tracker:
    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))


def test_values_have_the_name_of_their_job() -> None:
    (result,) = load_results(MINI.glob("ssdd_256_*.json"))
    values = result_values(result)
    assert values["ssdd 256 px default-v1/psnr"] == result.metrics["psnr"].value
    assert values["ssdd 256 px default-v1/decode_images_per_s"] == (
        result.speed.decode.images_per_s
    )
    assert "ssdd 256 px default-v1/rfid" not in values  # unavailable


def test_names_hold_nothing_that_a_tracker_refuses() -> None:
    (result,) = load_results([MINI / "jpeg-quality-50_256_default-v1_0895ada1ed.json"])
    assert "jpeg-quality-50 256 px default-v1/psnr" in result_values(result)


def test_results_are_counted() -> None:
    tracker = Tracker()
    log = result_logger(Trackers([tracker]))
    first, second = load_results([MINI])[:2]
    log(first)
    log(second)
    assert tracker.logged == [(1, result_values(first)), (2, result_values(second))]
