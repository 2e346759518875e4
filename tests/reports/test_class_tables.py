"""Tables of classes: their text, and what is read back of their files."""

import json
import math

import numpy as np
import pytest

from avvp_jax.reports.class_tables import ClassTable, beside, read_table, tables_in
from avvp_jax.storage.reading import DamagedFile

CLASSES = ("Dog", "<b>Cat</b>", "\u05e9\u05dc\u05d5\u05dd")
TABLE = ClassTable(
    "labels removed",
    "What was removed.",
    CLASSES,
    {"labels": np.array([3, 0, 12]), "no audio": np.array([1, 0, 2])},
    "d",
    "all classes",
    [15, 3],
)
RATIOS = ClassTable("ratio", "", CLASSES, {"audio": [0.25, math.nan, 1.0]}, ".3f")


def test_the_text_is_a_table():
    lines = [line.split() for line in TABLE.text().splitlines()]
    assert lines[0] == ["labels", "removed", "labels", "no", "audio"]
    assert lines[1] == ["Dog", "3", "1"] and lines[-1] == ["all", "classes", "15", "3"]
    assert [line.split()[-1] for line in RATIOS.text().splitlines()[1:]] == ["0.250", "-", "1.000"]


@pytest.mark.parametrize("table", [TABLE, RATIOS], ids=lambda table: table.title)
def test_a_table_comes_back(table, tmp_path):
    path = beside(str(tmp_path / "x.npz"))
    table.write(path)
    found = read_table(path)
    assert path.endswith("/x.table.json") and found.text() == table.text()
    assert (found.title, found.caption, found.classes) == (table.title, table.caption, CLASSES)


@pytest.mark.parametrize(
    "change",
    [
        {"title": 3},
        {"form": ".9f"},
        {"columns": {}},
        {"columns": {"labels": [1, 2]}},
        {"columns": {"labels": [1, 2, "3"]}},
        {"columns": {"labels": [1, 2, True]}},
        {"columns": {"labels": [1, 2, 1e999]}},
        {"columns": {"labels": [1, 2, 10**400]}},
        {"columns": [[1, 2, 3]]},
        {"classes": None},
        {"totals": [1]},
        {"total": ""},
    ],
    ids=str,
)
def test_what_is_no_table_is_left_out_with_a_warning(change, tmp_path, capsys):
    (tmp_path / "stage/seeds_0-1").mkdir(parents=True)
    RATIOS.write(str(tmp_path / "stage/seeds_0-1/good.table.json"))
    TABLE.write(str(tmp_path / "stage/bad.table.json"))
    record = json.loads((tmp_path / "stage/bad.table.json").read_text())
    (tmp_path / "stage/bad.table.json").write_text(json.dumps(record | change))
    with pytest.raises(DamagedFile):
        read_table(tmp_path / "stage/bad.table.json")
    assert list(tables_in(str(tmp_path))) == ["stage/seeds_0-1/good.table.json"]
    assert "bad.table.json" in capsys.readouterr().err
