"""Tables of methods: every recorded setting once, by protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ssdd_bench.report import methods
from ssdd_bench.report.tables.model import Table
from ssdd_bench.results.schema import GenerationRecord, Result

Make = Callable[..., Result]
GENERATION = GenerationRecord(
    *("DiT-S/2", {}, 33_000_000, "flow", "euler", 50, 50, 1.0, (0.0, 1.0), 4, "equal", 10),
    *("per channel", None, None),
)


def settings(table: Table, protocol: str) -> dict[str, str]:
    """Values by setting that a protocol has, alone or with others."""
    rows = [[cell.text for cell in cells] for cells in table.lines()]
    return {name: value for name, value, owners in rows if owners in ("all", protocol)}


def test_settings_are_those_recorded_of_each_protocol(make_result: Make) -> None:
    one = make_result()
    protocol = {**one.protocol, "posterior": "sample", "tf32": True, "id": "other-v1"}
    table = methods.build_method_tables([one, replace(one, protocol=protocol)])[0]
    first, second = settings(table, "default-v1"), settings(table, "other-v1")
    assert "posterior" not in first
    assert (second["posterior"], second["crop"]) == ("one sample per image", first["crop"])
    values = [cells[1].text for cells in table.lines()]
    assert values.count(first["crop"]) == 1  # no sentence stands twice
    assert second["data"].startswith("28 of sample at 64 px (22222222")
    assert second["timed on"].startswith("cpu: example processor, threads: 2")
    assert "model" not in first


def test_what_many_results_share_is_said_once(make_result: Make) -> None:
    scales = (1.0, 1.5, 1.0)
    results = [
        make_result(generation=replace(GENERATION, guidance_scale=scale)) for scale in scales
    ]
    one = settings(methods.build_method_tables(results)[0], "default-v1")
    assert one["model"] == "DiT-S/2, 33 M parameters"
    assert (one["samplers"], one["guidance scales"]) == ("euler, 50 steps", "1; 1.5")
    more = [
        make_result(generation=replace(GENERATION, steps=steps, sampler=sampler))
        for steps, sampler in ((100, "euler"), (1, "euler"), (9, "euler"), (1, "ddpm"))
    ]
    one = settings(methods.build_method_tables(more)[0], "default-v1")
    assert one["samplers"] == "ddpm, 1 step; euler, 1 step; euler, 9 steps; euler, 100 steps"


def test_one_name_with_two_hashes_is_two_protocols(make_result: Make) -> None:
    one = make_result()
    other = replace(one, protocol={**one.protocol, "sha256": "ab" * 32})
    table = methods.build_method_tables([one, other])[0]
    headings = [column.heading for column in table.columns]
    assert headings == ["setting", "value", "protocols"]
    owners = {cells[2].text for cells in table.lines() if cells[0].text == "sha256"}
    assert "default-v1 (abababab)" in owners


def test_versions_come_from_the_results(make_result: Make) -> None:
    one = make_result(environment={"ssdd_bench": "9.8.7"})
    assert methods.versions([one, one]) == "9.8.7"
    environment = methods.build_method_tables([one])[-1]
    values = {key.text: value.text for key, value in environment.lines()}
    assert (values["ssdd_bench"], values["threads"]) == ("9.8.7", "2")
