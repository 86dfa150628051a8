"""Features in memory and in a file: every row, what stands for them, and their order."""

import numpy as np
import pytest
import torch

from ssdd_bench.data.source import hash_id
from ssdd_bench.errors import DataError, OutputError, UnavailableError
from ssdd_bench.metrics.features import files as module
from ssdd_bench.metrics.features.files import FeatureSets, FeatureStore
from ssdd_bench.metrics.moments import Moments, moments_of

ROWS = np.arange(15, dtype=np.float32).reshape(5, 3) ** 2
TRIANGLE = np.triu_indices(3)


def filled(*parts, **more):
    store = FeatureStore(3, **more)
    for part in parts:
        store.append(part)
    return store


def products(rows):
    return (rows.astype(np.float64).T @ rows)[TRIANGLE]


def test_rows_come_back_as_they_came():
    store = filled(ROWS[:2], ROWS[2:], keep_rows=True)
    store._file.seek(0)
    store.append(ROWS[:1])
    whole = np.concatenate([ROWS, ROWS[:1]])
    assert (store.n, store.dims) == (6, 3)
    assert store.rows().dtype == np.float32
    np.testing.assert_array_equal(store.rows(), whole)
    assert not store.rows().flags.writeable
    tensor = store.tensor()
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor, whole)
    tensor += 1  # changes no file
    np.testing.assert_array_equal(store.rows(), whole)


def test_a_store_without_rows_is_empty():
    store = FeatureStore(3, keep_rows=True)
    assert store.rows().shape == (0, 3)
    assert store.rows().dtype == np.float32
    assert store.tensor().shape == (0, 3)
    assert store.n == 0


def test_rows_are_not_kept_by_default():
    for read in (filled(ROWS).rows, filled(ROWS).tensor, FeatureStore(3).rows):
        with pytest.raises(UnavailableError, match="needs_rows"):
            read()


def test_rows_are_stored_in_single_precision_and_in_order():
    store = filled(np.asfortranarray(ROWS, np.float64), ROWS[::-1], keep_rows=True)
    np.testing.assert_array_equal(store.rows(), np.concatenate([ROWS, ROWS[::-1]]))


def test_products_are_added_in_blocks(monkeypatch):
    sizes, update = [], Moments.update
    monkeypatch.setattr(module, "BLOCK", 4)
    monkeypatch.setattr(Moments, "update", lambda self, x: sizes.append(len(x)) or update(self, x))
    store = filled(ROWS[:3])
    assert sizes == []
    store.append(ROWS[3:4])
    assert sizes == [4]
    store.append(ROWS[:3])
    assert sizes == [4]
    assert store.moments().n == 7
    assert store.moments() is store.moments()
    assert sizes == [4, 3]
    assert filled(ROWS).moments().n == 5
    assert sizes == [4, 3, 5]


@pytest.mark.parametrize("rows", [ROWS[0], ROWS[:, :2], ROWS[None]])
def test_rows_of_another_length_are_refused(rows):
    store = filled(ROWS)
    with pytest.raises(ValueError, match=r"expected \(N, 3\)"):
        store.append(rows)
    assert store.n == 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_refused(value):
    store, rows = filled(ROWS, keep_rows=True), ROWS.copy()
    rows[4, 2] = value
    with pytest.raises(DataError, match="not finite"):
        store.append(rows)
    with pytest.raises(DataError, match="not finite"):
        store.merge({"rows": rows})
    assert store.n == len(store.rows()) == 5


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left"), "/scratch: No space left; "),
        (OSError("odd"), "/scratch: odd; "),
    ],
)
def test_a_full_disk_says_where(error, reason, monkeypatch):
    def fail(*place):
        raise error

    store = FeatureStore(3, keep_rows=True)
    monkeypatch.setattr(module, "gettempdir", lambda: "/scratch")
    with monkeypatch.context() as patch:
        patch.setattr(store, "_file", type("Full", (), {"seek": fail, "close": fail})())
        with pytest.raises(OutputError, match=reason) as caught:
            store.append(ROWS)
        assert "TMPDIR" in str(caught.value)
    assert store.n == 0


def test_the_file_is_closed_with_its_store():
    store = FeatureStore(3, keep_rows=True)
    file = store._file
    assert not file.closed
    del store
    assert file.closed


def equal(state, **expected):
    assert list(state) == list(expected)
    for name, array in expected.items():
        assert state[name].dtype == array.dtype
        np.testing.assert_array_equal(state[name], array)


def test_a_state_is_the_rows_or_their_sums():
    many = {
        "n": np.array(5, np.int64),
        "sum": ROWS.sum(axis=0, dtype=np.float64),
        "products": products(ROWS),
    }
    equal(filled(ROWS[:3]).state(), rows=ROWS[:3])
    equal(filled(ROWS[:2], ROWS[2:3], keep_rows=True).state(), rows=ROWS[:3])
    equal(FeatureStore(3).state(), rows=ROWS[:0])
    equal(filled(ROWS[:2], ROWS[2:]).state(), **many)
    equal(filled(ROWS, keep_rows=True).state(), **many, rows=ROWS)
    few = FeatureStore(3, keep_few=False)
    few.append(ROWS[:1])
    equal(
        few.state(),
        n=np.array(1, np.int64),
        sum=ROWS[0].astype(np.float64),
        products=products(ROWS[:1]),
    )


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("sizes", [(1, 2), (1, 4), (4, 1), (4, 5)])
def test_states_add_up(sizes, keep):
    parts = [ROWS[:size] for size in sizes]
    store = filled(parts[0], keep_rows=keep)
    store.merge(filled(parts[1], keep_rows=keep).state())
    equal(store.state(), **filled(np.concatenate(parts), keep_rows=keep).state())
    assert store.n == sum(sizes)
    store.append(ROWS)
    assert store.n == store.moments().n == sum(sizes) + 5
    if keep:
        np.testing.assert_array_equal(store.rows(), np.concatenate([*parts, ROWS]))


def test_a_state_of_sums_has_no_rows_to_keep():
    store = FeatureStore(3, keep_rows=True)
    with pytest.raises(DataError, match="not kept"):
        store.merge(filled(ROWS).state())
    store.merge(filled(ROWS[:3]).state())  # few rows stand for themselves
    np.testing.assert_array_equal(store.rows(), ROWS[:3])
    with pytest.raises(ValueError, match="expected"):
        store.merge({"rows": ROWS[:, :2]})


def test_sets_of_features():
    reference, candidate = filled(ROWS[:2]), filled(ROWS)
    ids = [f"{i}.png" for i in range(40)]
    sets = FeatureSets(ids, reference, candidate, "network 1")
    assert sets.paired
    assert (sets.published, sets.labels, sets.reference_labels) == (None, None, None)
    assert sets.reference_n == 2
    assert sets.reference_moments() is reference.moments()
    order = sets.order()
    assert order.dtype == np.int64
    assert [ids[i] for i in order] == sorted(ids, key=hash_id)
    assert sorted(order) == list(range(40)) != list(order)
    published = moments_of(ROWS)
    sets = FeatureSets(ids, reference, candidate, "network 1", published=published)
    assert sets.reference_n == 5
    assert sets.reference_moments() is published
