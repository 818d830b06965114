"""Costs of models: wherever a table goes, they go with it."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mura_env import Predictions
from mura_env.musculoskeletal_costs import musculoskeletal_costs
from tests.mura_env.tables import random_table

COSTS = [4.0e9, 0.0, 1 / 3]
TABLE = random_table(20, costs=COSTS)


def same_costs(table: Predictions) -> bool:
    return table.costs is not None and table.costs.tolist() == np.float32(COSTS).tolist()


def test_they_travel_through_selection_splits_and_files(tmp_path: Path) -> None:
    assert TABLE.costs is not None
    assert TABLE.costs.dtype == np.float32
    assert not TABLE.costs.flags.writeable
    TABLE.save(tmp_path / "table.npz")
    TABLE.to_csv(tmp_path / "table.csv")
    tables = [
        Predictions.load(tmp_path / "table.npz"),
        Predictions.from_csv(tmp_path / "table.csv"),
        TABLE.select([7, 3]),
        *TABLE.split(0.5, seed=0),
    ]
    assert all(map(same_costs, tables))
    assert random_table().costs is None
    random_table().save(tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz") as archive:
        assert "costs" not in archive.files


def test_tables_of_the_same_models_agree_on_them() -> None:
    first, second = TABLE.select(slice(10)), TABLE.select(slice(10, None))
    assert same_costs(Predictions.concatenate([first, second]))
    assert same_costs(Predictions.concatenate([replace(first, costs=None), second]))
    with pytest.raises(ValueError, match="expected tables whose models cost the same, got "):
        Predictions.concatenate([first, replace(second, costs=np.float32([1, 2, 3]))])


def test_costs_of_errors_go_by_the_name_of_a_body_part_however_it_is_spelt() -> None:
    names = ("XR_HIP", "hip", " Hip", "XR hip", "xr-Hip", "hips")
    for name, missed in zip(names, (6, 6, 6, 6, 6, 3), strict=True):
        table = Predictions.from_arrays(np.zeros((2, 1, 2)), [0, 1], [0, 0], body_part_names=(name,))
        assert musculoskeletal_costs(table)[0].tolist() == [[0, 1], [missed, 0]]


@pytest.mark.parametrize(
    "costs", [[1, 2], [1, 2, -1], [0, 0, 0], [[1, 2, 3]], [1, 2, np.nan], ["a", "b", "c"]]
)
def test_wrong_costs_are_one_sentence(costs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^expected .*costs?"):
        random_table(costs=costs)


@pytest.mark.parametrize(
    ("row", "text", "words"),
    [
        (4, "7", "row 5: expected cost 4000000000.0 as in the other rows of model 'model-0', got 7.0"),
        (1, "dear", r"row 2: expected cost as a number in \[0, .*, got 'dear'"),
        (1, "-1", r"row 2: expected cost as a number in \[0, .*, got -1"),
    ],
)
def test_a_csv_says_where_a_cost_is_wrong(tmp_path: Path, row: int, text: str, words: str) -> None:
    path = tmp_path / "table.csv"
    TABLE.to_csv(path)
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    rows[row][rows[0].index("cost")] = text
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        Predictions.from_csv(path)
