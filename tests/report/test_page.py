from __future__ import annotations

import pytest

from handful.report.page import Column, Table, table


def test_a_row_has_as_many_cells_as_there_are_columns() -> None:
    with pytest.raises(ValueError, match="another number of cells"):
        table("name", ["count"], [["a", "1"], ["b"]])


def test_the_usual_table() -> None:
    made = table("name", ["count"], [["a", "1"]], "Counts", marked=[0])
    assert made == Table((Column("name", "name"), Column("count")), (("a", "1"),), "Counts", frozenset({0}))
