"""Names and places of results: made from content, and never outside of a repository."""

import dataclasses
from pathlib import Path

import pytest

from ssdd_bench.results.places import (
    OWN_NAME,
    RESULT_FILE,
    SCORES_FILE,
    path_of,
    place_of,
    repository_files,
    results_in,
    revision_of,
    scores_place,
    slug,
)
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import find_results, from_json, load_results

RESULTS = Path(__file__).parents[2] / "results"
MINI = RESULTS / "mini"


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [from_json(read_json(path), path) for path in sorted(MINI.glob("*.json"))]


def changed(result: Result, **tokenizer: object) -> Result:
    return dataclasses.replace(result, tokenizer=dataclasses.replace(result.tokenizer, **tokenizer))


def test_names_of_results_are_known(results: list[Result]) -> None:
    odd = changed(results[0], label="ünnamed_×:a=1 (bfloat16)")
    assert all(OWN_NAME.fullmatch(path_of(one, Path()).name) for one in [*results, odd])
    for name in ("config.json", "trainer_state.json", "a_b_c_0123456789.json"):
        assert not OWN_NAME.fullmatch(name)


def test_a_report_among_results_is_no_result(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    for name in ("b.json", "a.json", "report.json", ".c.json", "table.md"):
        (runs / name).touch()
    assert results_in(runs) == [runs / "a.json", runs / "b.json"]
    assert find_results([runs]) == find_results([tmp_path]) == results_in(runs)


def test_a_repository_is_known_by_its_places(results: list[Result], tmp_path: Path) -> None:
    places = [tmp_path / place_of(one) for one in results]
    assert repository_files(tmp_path) == []
    stray = tmp_path / "results" / "mini" / "a.json"
    for path in (*places, stray, tmp_path / "report.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert sorted(repository_files(tmp_path)) == sorted(places)
    assert sorted(find_results([tmp_path])) == sorted(places)
    assert repository_files(tmp_path / "results") == []


def test_every_place_is_a_place_of_the_layout(results: list[Result]) -> None:
    places = [place_of(one) for one in results]
    assert len(set(places)) == len(results)
    for place in places:
        assert RESULT_FILE.fullmatch(place.as_posix())
        assert SCORES_FILE.fullmatch(scores_place(place).as_posix())


def test_a_place_names_model_revision_and_protocol(results: list[Result]) -> None:
    (one, *_) = [one for one in results if one.tokenizer.label == "ssdd" and one.resolution == 256]
    folder, model, revision, protocol, name = place_of(one).parts
    assert (folder, model, protocol) == ("results", "ssdd", "default-v1-09e2e4f9")
    assert revision == revision_of(one)
    assert name == f"ssdd_256_default-v1_{one.fingerprint[:10]}.json"


def test_a_revision_is_the_bytes_of_the_weights_and_the_adapter(results: list[Result]) -> None:
    one = next(one for one in results if one.tokenizer.weights)
    renamed = {f"other-{name}": value for name, value in one.tokenizer.weights.items()}
    assert revision_of(changed(one, weights=renamed)) == revision_of(one)
    assert revision_of(changed(one, weights={"a": "0" * 64})) != revision_of(one)
    assert revision_of(changed(one, version="99")) != revision_of(one)


def test_a_revision_of_samples_has_the_weights_of_their_network() -> None:
    (one, *_) = load_results(sorted((RESULTS / "generation").glob("*.json"))[:1])
    assert one.generation
    network = dataclasses.replace(one.generation, weights={"dit": "0" * 64})
    other = dataclasses.replace(one, generation=network)
    assert revision_of(other) != revision_of(one)
    assert revision_of(other) != revision_of(dataclasses.replace(one, generation=None))


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "..", "a/b", ".git", "C:\\x", "é\n"])
def test_no_content_leads_out_of_the_repository(results: list[Result], name: str) -> None:
    protocol = {**results[0].protocol, "id": name, "sha256": name}
    one = dataclasses.replace(changed(results[0], id=name, label=name), protocol=protocol)
    place = place_of(one)
    assert RESULT_FILE.fullmatch(place.as_posix())
    assert ".." not in place.parts


@pytest.mark.parametrize(
    "path",
    [
        "results/../x/000000000000/p/f.json",
        "results/m/000000000000/p/../f.json",
        "/results/m/000000000000/p/f.json",
        "results/m/000000000000/p/.f.json",
        "results/m/000000000000/p/f.json/",
        "results/m/000000000000/p/q/f.json",
        "results/m/00000000000g/p/f.json",
        "results/m\\..\\x/000000000000/p/f.json",
        "results/m/000000000000/p/f[a].json",
        "results/m/000000000000/p/f.json\n",
        "results//000000000000/p/f.json",
    ],
)
def test_paths_that_are_no_place(path: str) -> None:
    assert not RESULT_FILE.fullmatch(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("jpeg:quality=50", "jpeg-quality-50"),
        ("a/../B_c 0.5", "a-..-B-c-0.5"),
        ("-.x.-", "x"),
        ("..", "unnamed"),
        ("\u00fc", "unnamed"),
        ("x" * 81, "x" * 80),
    ],
)
def test_slugs(text: str, name: str) -> None:
    assert slug(text) == name
