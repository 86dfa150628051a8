"""Images in Parquet files, read in pieces of row groups."""

import errno

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encoded_images import assert_pixels, photo, png, write_parquet

from ssdd_bench.data import parquet, pieces
from ssdd_bench.data.files import LocalFile
from ssdd_bench.data.images import open_images
from ssdd_bench.data.index import Index
from ssdd_bench.errors import DataError, SourceError


def test_parquet_as_hugging_face_stores_it(tmp_path):
    values = [{"bytes": png(photo(i)), "path": "same.png"} for i in range(5)]
    source = open_images(write_parquet(tmp_path / "train.parquet", values))
    assert source.ids == ("000000", "000001", "000002", "000003", "000004")
    for i in (4, 0, 1, 2, 3):
        assert_pixels(source.read(f"00000{i}"), photo(i))


def test_parquet_keeps_few_row_groups(tmp_path):
    values = [png(photo(i)) for i in range(8)]
    source = open_images(write_parquet(tmp_path / "x.parquet", values, column="jpeg"))
    for image_id in source.ids:
        source.read(image_id)
    assert source._group.cache_info().currsize == 2  # of four


def test_folder_of_parquet_files(tmp_path):
    for shard in range(2):
        write_parquet(tmp_path / f"s{shard}.parquet", [png(photo(10 * shard + i)) for i in (0, 1)])
    source = open_images(tmp_path)
    assert source.ids == ("s0/000000", "s0/000001", "s1/000000", "s1/000001")
    assert_pixels(source.read("s1/000001"), photo(11))


def test_parquet_row_without_bytes_is_an_error_of_that_row(tmp_path):
    values = [{"bytes": png(photo(0)), "path": "a"}, {"bytes": None, "path": "b"}]
    source = open_images(write_parquet(tmp_path / "x.parquet", values))
    assert_pixels(source.read("000000"), photo(0))
    with pytest.raises(DataError, match="no bytes"):
        source.read("000001")


def test_parquet_without_images_names_its_columns(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="text, label"):
        open_images(tmp_path / "x.parquet")


def test_groups_of_two_shards_are_told_apart(tmp_path):
    for shard in range(2):
        images = [png(photo(10 * shard + i)) for i in range(4)]
        write_parquet(tmp_path / f"{shard}.parquet", images)
    source = open_images(tmp_path)
    order = [(row, shard) for row in range(4) for shard in range(2)]
    for row, shard in order + order[::-1]:
        assert_pixels(source.read(f"{shard}/{row:06d}"), photo(10 * shard + row))


@pytest.mark.medium
def test_a_row_group_is_read_in_pieces(tmp_path, monkeypatch):
    """Pages of few rows, which Arrow writes if it is told so; it decompresses a page at a time."""
    monkeypatch.setattr(pieces, "KEPT_BYTES", 100_000)
    images = 4 * [png(photo(i, (64, 64))) for i in range(300)]
    table, path = pa.table({"image": images}), tmp_path / "x.parquet"
    pq.write_table(table, path, write_batch_size=4, data_page_size=40_000, use_dictionary=False)
    del table
    source = open_images(path)
    before = pa.total_allocated_bytes()
    for i in (0, 1, 170, 1198, 3):
        assert_pixels(source.read(f"{i:06d}"), photo(i % 300, (64, 64)))
        assert pa.total_allocated_bytes() - before < sum(map(len, images)) / 4


@pytest.mark.medium
def test_a_page_of_all_rows_is_freed_after_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "KEPT_BYTES", 100_000)
    images = [png(photo(i, (64, 64))) for i in range(600)]
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet", use_dictionary=False)
    source = open_images(tmp_path / "x.parquet")
    before = pa.total_allocated_bytes()
    source.read("000300")
    assert pa.total_allocated_bytes() - before > sum(map(len, images))
    source.read("000599")
    assert pa.total_allocated_bytes() - before < sum(map(len, images)) / 3


@pytest.mark.medium
def test_a_small_file_of_gigabytes_is_read_in_pieces(tmp_path):
    """Each row is one entry of a dictionary: 300 bytes stand for 500 MB."""
    column = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(250, np.int32)), pa.array([bytes(2 << 20)])
    )
    table = pa.table({"image": column})
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "x.parquet").stat().st_size < 5000
    source = open_images(tmp_path / "x.parquet", max_image_mb=8)
    assert len(source) == 250
    before = pa.total_allocated_bytes()
    for image_id in source.ids[::100]:
        with pytest.raises(DataError, match="not an image"):
            source.read(image_id)
        assert pa.total_allocated_bytes() - before < 110 << 20


def test_a_group_that_is_too_large_for_its_rows_is_refused(tmp_path, monkeypatch):
    values = [bytes(3 << 20), b"x"]
    path = write_parquet(tmp_path / "x.parquet", values, rows_per_group=1)
    source = open_images(path, max_image_mb=2)
    with pytest.raises(DataError, match="row group 0 has 3 MB for 1 image"):
        source.read("000000")
    with pytest.raises(DataError, match="not an image"):
        source.read("000001")


def test_a_damaged_row_group_is_an_error_of_its_rows_alone(tmp_path):
    images = [png(photo(i, (64, 64))) for i in range(6)]
    path = write_parquet(tmp_path / "x.parquet", images, rows_per_group=2)
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    source = open_images(path)
    for row in (0, 1, 4, 5):
        assert_pixels(source.read(f"{row:06d}"), photo(row, (64, 64)))
    for row in (2, 3):
        with pytest.raises(DataError, match="row group 1") as caught:
            source.read(f"{row:06d}")
        assert "\n" not in str(caught.value)


def test_a_disk_that_fails_is_no_error_of_a_row(tmp_path, monkeypatch):
    source = open_images(write_parquet(tmp_path / "x.parquet", [png(photo(0))]))

    def fail(*args, **more):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pq, "ParquetFile", fail)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"x\.parquet.*Input/output error"):
            source.read("000000")
    monkeypatch.undo()
    assert_pixels(source.read("000000"), photo(0))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"other": [b"1"], "image": [b"1"]}, "image"),
        ({"text": ["1"], "jpeg": [b"1"]}, "jpeg"),
        ({"one": [{"bytes": b"1", "path": "x"}], "two": [{"path": "x"}]}, "one"),
        ({"one": [{"bytes": "text"}], "two": pa.array([b"1"], pa.large_binary())}, "two"),
        ({"one": [b"1"], "two": [b"1"]}, None),
        ({"image": ["text"]}, None),
    ],
)
def test_the_column_of_images(columns, expected):
    schema = pa.table(columns).schema
    if expected is None:
        with pytest.raises(DataError, match=next(iter(columns))):
            parquet._image_column(schema, "x")
    else:
        assert parquet._image_column(schema, "x") == expected


def test_places_of_rows(tmp_path):
    """Exact rows and groups, which all that is read depends on."""
    path = write_parquet(tmp_path / "a.parquet", [b"1", b"2", b"3", b"4", b"5"], column="own")
    index = parquet._index_parquet(LocalFile.find(path))
    groups = [pq.ParquetFile(path).metadata.row_group(i) for i in range(3)]
    assert index.texts == ("own",)
    assert index.numbers["rows"].tolist() == [2, 2, 1]
    assert index.numbers["bytes"].tolist() == [group.total_byte_size for group in groups]
    write_parquet(tmp_path / "b.parquet", [b"6", b"7", b"8"], column="own")
    source = open_images(tmp_path)
    places = [source._where(image_id)[1:] for image_id in source.ids]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (0, 0), (0, 1), (1, 0)]
    assert [source._where(one)[0].url[-9:] for one in source.ids[::5]] == [
        *("a.parquet", "b.parquet"),
    ]


def test_an_index_holds_for_its_format(tmp_path, monkeypatch):
    kinds = []
    monkeypatch.setattr(
        *(parquet, "cached_index"), lambda file, kind, build: kinds.append(kind) or build(file)
    )
    open_images(write_parquet(tmp_path / "b.parquet", [png(photo(0))], column="jpeg"))
    assert kinds == ["parquet 1"]


def test_rows_of_groups_that_no_integer_holds_are_refused(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "x.parquet", [png(photo(0))])
    rows = np.full(2, 2**62, np.int64)
    index = Index(("image",), {"rows": rows, "bytes": rows})
    monkeypatch.setattr(parquet, "cached_index", lambda *_: index)
    with pytest.raises(DataError, match="cannot hold"):
        open_images(path)
