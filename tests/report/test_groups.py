"""Groups of rows: which are pooled over seeds, and which stay apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.groups import (
    comparable_groups,
    describe_hardware,
    describe_machine,
    pool_seeds,
    row_names,
    split,
)
from ssdd_bench.results.schema import MetricValue, Result

Make = Callable[..., Result]


def test_pooled_once_is_pooled(make_result: Make) -> None:
    pooled = pool_seeds(to_frame([make_result("a", seed=seed) for seed in (0, 1)]))
    assert pool_seeds(pooled) is pooled


def other_weights(result: Result) -> Result:
    return replace(result, tokenizer=replace(result.tokenizer, weights={"w": "another"}))


def other_metrics(result: Result) -> Result:
    gone = replace(result.metrics["psnr"], value=None, unavailable="no weights")
    return replace(result, metrics={**result.metrics, "psnr": gone})


@pytest.mark.medium
@pytest.mark.parametrize(
    "change",
    [
        other_weights,
        other_metrics,
        lambda result: replace(result, seed=0),
        lambda result: replace(result, resolution=128),
        lambda result: replace(result, data=replace(result.data, pixels_sha256="other")),
        lambda result: replace(result, execution=replace(result.execution, device="cuda")),
        lambda result: replace(result, steps=7),
        lambda result: replace(result, protocol={**result.protocol, "id": "another-v1"}),
        lambda result: replace(result, data=replace(result.data, name="other")),
        lambda result: replace(result, data=replace(result.data, n=result.data.n + 1)),
        lambda result: replace(result, execution=replace(result.execution, threads=64)),
        lambda result: replace(result, execution=replace(result.execution, dtype="bfloat16")),
        lambda result: replace(result, execution=replace(result.execution, compile="default")),
    ],
)
def test_what_differs_in_more_than_the_seed_stays_apart(
    make_result: Make, change: Callable[[Result], Result]
) -> None:
    first = make_result("a", seed=0)
    assert len(pool_seeds(to_frame([first, replace(first, seed=1)]))) == 1
    pooled = pool_seeds(to_frame([first, change(replace(first, seed=1))]))
    assert len(pooled) == 2
    assert {len(seeds) for seeds in pooled["seeds"]} == {1}


def test_the_order_of_rows_and_types_of_columns_stay(make_result: Make) -> None:
    frame = to_frame([make_result(label, seed=seed) for label in "cab" for seed in (0, 1)])
    pooled = pool_seeds(frame)
    assert list(pooled["label"]) == ["a", "b", "c"]
    assert all(pooled.dtypes[column] == frame.dtypes[column] for column in frame)
    assert pooled.attrs == frame.attrs
    assert (len(frame), "seeds" in frame) == (6, False)  # it is left as it was


def test_rows_are_pooled_whatever_their_numbers_and_order(make_result: Make) -> None:
    """The first of several seeds keeps its place, and its number."""
    results = [
        make_result(label, seed=seed, metrics={"psnr": value})
        for label, seed, value in (("b", 0, 20.0), ("a", 0, 9.0), ("b", 1, 22.0), ("a", 1, 8.0))
    ]
    frame = to_frame(results)
    frame = frame.iloc[[2, 0, 3, 1]].set_axis([7, 3, 9, 5])  # b, a, b, a
    assert [*frame["label"], *frame["seed"]] == [*"baba", 0, 0, 1, 1]
    pooled = pool_seeds(frame)
    assert dict(pooled["label"]) == {7: "b", 3: "a"}
    assert dict(pooled["psnr"]) == {7: 21.0, 3: 8.5}
    fingerprints = frame["fingerprint"].to_dict()
    assert pooled["fingerprints"].to_dict() == {
        7: (fingerprints[7], fingerprints[9]),
        3: (fingerprints[3], fingerprints[5]),
    }


def test_lossless_stays_infinite(make_result: Make) -> None:
    def lossless(seed: int) -> Result:
        psnr = MetricValue(None, 28, True, "test", infinite=28)
        return replace(make_result("a", seed=seed), metrics={"psnr": psnr})

    (value,) = pool_seeds(to_frame([lossless(0), lossless(1)]))["psnr"]
    assert math.isinf(value)


def test_groups_say_what_their_rows_share(make_result: Make) -> None:
    frame = to_frame([make_result("b", 64), make_result("a", 64), make_result("c", 96, n=5)])
    small, large = comparable_groups(frame)
    assert (small.resolution, small.protocol, small.data, small.n) == (
        64,
        "default-v1",
        "sample",
        28,
    )
    assert small.size == "64 × 64 px"
    assert large.title == "96 × 96 px, default-v1, sample"
    assert (large.n, type(large.n), type(large.resolution)) == (5, int, int)
    assert list(small.rows["label"]) == ["a", "b"]
    assert list(large.rows.index) == [2]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([{}, {"resolution": 96}], ["a", "a"]),
        ([{"seed": 1}, {"seed": 3}], ["a (seed 1)", "a (seed 3)"]),
        ([{"device": "x"}, {"device": "y"}], ["a (x)", "a (y)"]),
        ([{"fingerprint": "1" * 64}, {"fingerprint": "2" * 64}], ["a (111111)", "a (222222)"]),
        (
            [{"seed": 1, "device": "x"}, {"seed": 1, "device": "y"}, {"seed": 2, "device": "x"}],
            ["a (seed 1) (x)", "a (seed 1) (y)", "a (seed 2)"],
        ),
        ([{}, {}, {}], ["a", "a #2", "a #3"]),
    ],
)
def test_names_tell_rows_apart(
    make_result: Make, changes: list[dict[str, object]], names: list[str]
) -> None:
    rows = pd.concat(
        [to_frame([make_result(**{"label": "a", **change})]) for change in changes],
        ignore_index=True,
    )
    other = to_frame([make_result("other", seed=9, device="z", fingerprint="9" * 64)])
    found = row_names(pd.concat([rows, other], ignore_index=True))
    assert list(found) == [*names, "other"]


def test_default_steps_are_said_where_others_are_shown(make_result: Make) -> None:
    def named(*given: tuple[str, int | None], **more: bool) -> list[str]:
        made = [make_result(label, steps=steps) for label, steps in given]
        return list(row_names(to_frame(made), **more))

    several = ("d", 8), ("d:f=16", 8), ("d:steps=1", 1), ("klvae", None)
    assert named(*several) == ["d (8 steps)", "d:f=16", "d:steps=1", "klvae"]
    assert named(*several, with_steps=False) == ["d", "d:f=16", "d:steps=1", "klvae"]
    assert named(("d", 1), ("d:steps=4", 4)) == ["d (1 step)", "d:steps=4"]
    assert named(("d", 8), ("d:f=16", 8)) == ["d", "d:f=16"]
    twice = [make_result("d", steps=8, seed=seed) for seed in (0, 1)]
    other = make_result("d:steps=1", steps=1)
    found = list(row_names(to_frame([*twice, other])))
    assert found == ["d (8 steps) (seed 0)", "d (8 steps) (seed 1)", "d:steps=1"]


def test_machines_in_words(make_result: Make) -> None:
    machine = {"device": "x", "threads": 2, "dtype": "float32", "compile": "off"}
    assert describe_machine(machine) == "x, 2 threads, float32"
    assert describe_machine(machine | {"threads": 1}) == "x, 1 thread, float32"
    for compile, words in (
        ("default", ", compiled"),
        ("max-autotune", ", compiled with max-autotune"),
    ):
        assert describe_machine(machine | {"compile": compile}) == f"x, 2 threads, float32{words}"
    assert describe_machine(machine | {"device": ""}) == ""
    timed = [make_result(name, device=device) for name, device in zip("abc", "xyx", strict=True)]
    frame = to_frame([*timed, make_result("d", decode_ips=None)])
    assert describe_hardware(frame) == ["x, 2 threads, float32", "y, 2 threads, float32"]


def test_everything_is_pooled_as_it_should_be(make_result: Make) -> None:
    """Two seeds of one tokenizer beside others that stay as they are."""

    def one(
        seed: int, psnr: float, speed: float, texts: tuple[str, ...], label: str = "a"
    ) -> Result:
        made = make_result(label, 64, speed, {"psnr": psnr}, seed=seed, warnings=texts, note="")
        value = replace(made.metrics["psnr"], interval=(psnr - 1, psnr + 2))
        return replace(made, metrics={"psnr": value}, fingerprint=f"{seed}" * 64)

    results = [
        one(1, 20.0, 2.0, ("x", "y")),
        one(2, 24.0, 8.0, ("y", "z")),
        *(one(seed, 1.0, 1.0, (), "twice") for seed in (0, 0, 1)),
        one(5, 30.0, 4.0, ("w",), "alone"),
    ]
    scores = [
        {"psnr": pd.Series([10.0, 30.0], ["i", "j"]), "ssim": pd.Series([1.0], ["i"])},
        {"psnr": pd.Series([16.0, 32.0], ["i", "j"]), "ssim": pd.Series([1.0], ["k"])},
    ]
    pooled = pool_seeds(to_frame(results, scores + [{}] * 4)).set_index("label")
    row = pooled.loc["a"]
    assert row[["psnr", "psnr_low", "psnr_high", "psnr_least", "psnr_greatest"]].tolist() == [
        *(22.0, 21.0, 24.0, 20.0, 24.0)
    ]
    # Seconds grow with the speed's inverse, so quartiles are those of 8 / (0.45 or 0.375 s).
    ends = row[["decode_ips", "decode_ips_q1", "decode_ips_q3"]].tolist()
    assert ends == pytest.approx([5.0, 5 * 0.4 / 0.45, 5 * 0.4 / 0.375])
    assert (row["seeds"], row["seed"], row["fingerprint"]) == ((1, 2), 1, "1" * 64)
    assert [note.text for note in row["footnotes"]] == ["x", "y", "z"]
    assert {key: list(one) for key, one in row["scores"].items()} == {"psnr": [13.0, 31.0]}
    assert list(row["scores"]["psnr"].index) == ["i", "j"]
    assert list(pooled.index) == ["a", "alone", "twice", "twice", "twice"]
    alone = pooled.loc["alone"]
    assert (alone["psnr"], alone["seeds"]) == (30.0, (5,))
    assert math.isnan(alone["psnr_least"])
    assert math.isnan(alone["psnr_greatest"])
    assert pooled.loc["twice", "seeds"].tolist() == [(0,), (0,), (1,)]


def test_rows_without_a_rate_are_a_part_of_their_own() -> None:
    frame = pd.DataFrame({"f": pd.array([16, None, 8, None], "Int64"), "n": 1, "x": range(4)})
    assert [list(part["x"]) for part in split(frame, ["f", "n"])] == [[0], [1, 3], [2]]
