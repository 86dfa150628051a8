"""The model of a table: cells, numbers of footnotes, sections and names."""

from __future__ import annotations

from ssdd_bench.report.tables.model import MISSING, Cell, Column, Table, name_of, section_key


def test_columns_and_footnotes() -> None:
    table = Table("title", "", "name", "tags")
    table.add("a", ["x", None, "", 0], [["one"], [], ["two", "one"], []], ["all"])
    table.add("b", iter([1, 2, 3, 4]), numeric=False, lower_is_better=True, main=False)
    table.add("c", "wxyz", shared=["two", "all"])
    assert table.footnotes == ["all", "one", "two"]
    assert table.columns == [
        Column(
            *("a", "a"),
            [Cell("x", notes=(2,)), Cell(MISSING), Cell(MISSING, notes=(2, 3)), Cell("0")],
            (1,),
        ),
        Column("b", "b", [Cell(one) for one in "1234"], (), False, True, False),
        Column("c", "c", [Cell(one) for one in "wxyz"], (1, 3), True, False, True),
    ]
    assert [[cell.text for cell in line] for line in table.lines()][2:] == [
        *([MISSING, "3", "y"], ["0", "4", "z"]),
    ]


def test_rows_by_section() -> None:
    table = Table("title", "", "name", "tags")
    table.add("a", "xyz")
    assert [(name, len(lines)) for name, lines in table.rows()] == [("", 3)]
    table.sections = [("f8c4: rate", 2), ("controls", 1)]
    found = [(name, [line[0].text for line in lines]) for name, lines in table.rows()]
    assert found == [("f8c4: rate", ["x", "y"]), ("controls", ["z"])]
    assert [section_key(name) for name, _ in found] == ["f8c4", "controls"]


def test_small_things() -> None:
    assert Cell("1", "±2").full == "1 ±2"
    assert Cell("1").full == "1"
    assert name_of("A b", 64, "x_(y)", "Ü1") == "a-b-64-x-y-1"
