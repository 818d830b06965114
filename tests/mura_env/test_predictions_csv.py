import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from mura_env import Predictions
from tests.mura_env.tables import random_table, tables
from tests.mura_env.test_predictions import assert_equal

HEADER = "study_id,patient_id,body_part,label,n_views,model,logit_normal,logit_abnormal"


def _read(tmp_path: Path, *lines: str) -> Predictions:
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Predictions.from_csv(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
@given(table=tables())
def test_a_table_comes_back_exactly(tmp_path: Path, table: Predictions) -> None:
    table.to_csv(tmp_path / "table.csv")
    assert_equal(Predictions.from_csv(tmp_path / "table.csv", body_part_names=table.body_part_names), table)


def test_difficulty_comes_back(tmp_path: Path) -> None:
    table = random_table(5, difficulty=[0, 0.1, 0.2, 0.5, 1])
    table.to_csv(tmp_path / "table.csv")
    np.testing.assert_array_equal(Predictions.from_csv(tmp_path / "table.csv").difficulty, table.difficulty)


def test_the_written_form(tmp_path: Path) -> None:
    table = Predictions.from_arrays(
        [[[0.1, -2.0], [1e-9, 3.0]]], [1], ["WRIST"], study_ids=["s"], patient_ids=["p, q"], n_views=[3]
    )
    table.to_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == HEADER.split(",")
    assert rows[1] == ["s", "p, q", "WRIST", "1", "3", "model-0", "0.100000001", "-2"]
    assert rows[2][5:] == ["model-1", "9.99999972e-10", "3"]


def test_any_order_of_rows_and_columns_and_class_names_as_labels(tmp_path: Path) -> None:
    table = _read(
        tmp_path,
        "model,probability_abnormal,label,study_id,probability_normal",
        "b,0.25,abnormal,x,0.75",
        "a,0.5,1,y,0.5",
        "",
        "a,1,abnormal,x,0",
        "b,0.125,normal,y,0.875",
    )
    # classes in the order of the columns, models and studies in the order of the rows
    assert table.class_names == ("abnormal", "normal")
    assert table.model_names == ("b", "a")
    assert table.study_ids.tolist() == table.patient_ids.tolist() == ["x", "y"]
    expected = [[[0.25, 0.75], [1, 0]], [[0.125, 0.875], [0.5, 0.5]]]
    np.testing.assert_allclose(table.probabilities, expected, atol=1e-6)


def test_the_index_is_the_column_order(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected label 0 as in the other rows of study 'x', got 1"):
        _read(tmp_path, "study_id,label,model,logit_b,logit_a", "x,b,m,0,0", "x,a,n,0,0")


GOOD = "s,p,ELBOW,0,2,m,0.5,0.5"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "expected a header line|expected a column 'study_id'"),
        ([HEADER], "expected at least one row below the header, got an empty table"),
        ([HEADER.replace("model", "net"), GOOD], "expected a column 'model', got the columns study_id, "),
        ([HEADER + ",note", GOOD + ",x"], "got 'note'"),
        ([HEADER + ",label", GOOD + ",0"], "expected every column once, got 'label' 2 times"),
        ([HEADER + ",probability_x", GOOD + ",1"], "expected either logit_<class> or probability_<class>"),
        (["study_id,label,model,logit_a", "s,0,m,1"], "columns of two classes"),
        ([HEADER, GOOD[:-4]], "row 2: expected 8 cells, got 7"),
        (
            [HEADER, GOOD.replace("0.5,0.5", "0.5,x")],
            "row 2: expected logit_abnormal as a number in .* got 'x'",
        ),
        (
            [HEADER, GOOD.replace("0.5,0.5", "0.5,nan")],
            "row 2: expected logit_abnormal as a number in .* got nan",
        ),
        ([HEADER, GOOD.replace("0.5,0.5", "1e300,0")], r"row 2: expected logit_normal .* got 1e\+300"),
        ([HEADER, GOOD, "t, ,ELBOW,0,2,m,0,0"], "row 3: expected a patient_id, got an empty cell"),
        ([HEADER, GOOD, "t,p,,0,2,m,0,0"], "row 3: expected a body_part, got an empty cell"),
        ([HEADER, GOOD, "t,p,ELBOW,0,2,,0,0"], "row 3: expected a model, got an empty cell"),
        ([HEADER.replace(",", ";"), GOOD.replace(",", ";")], "expected columns with commas between them"),
        (["," + HEADER, "0," + GOOD], "expected a name for every column, got none for column 1"),
        (["study_id,label,model,logit_a,logit_", "s,0,m,0,0"], "expected a class name after logit_ or prob"),
        (
            [HEADER, GOOD.replace("ELBOW,0", "ELBOW,2")],
            "row 2: expected a label of normal, abnormal or an index",
        ),
        (
            [HEADER, GOOD.replace(",2,", ",two,")],
            "row 2: expected n_views as a whole .* from 1 on, got 'two'",
        ),
        (
            [HEADER, GOOD, "t,p,ELBOW,0,0,m,0,0"],
            "row 3: expected n_views as a whole number from 1 on, got '0'",
        ),
        ([HEADER, GOOD.replace(",2,", f",{10**30},")], "row 2: expected n_views as a whole number"),
        ([HEADER, GOOD[1:]], "row 2: expected a study_id, got an empty cell"),
        ([HEADER, GOOD, GOOD], "row 3: expected study 's' and model 'm' once, got them again"),
        ([HEADER, GOOD, GOOD.replace("p", "q", 1).replace("m", "n")], "row 3: expected patient_id 'p'"),
        (
            [HEADER, GOOD, GOOD.replace("s", "t", 1), GOOD.replace(",m,", ",n,")],
            "expected every model for every study, got no row of model 'n' for study 't'",
        ),
        (
            [HEADER.replace("logit", "probability"), GOOD.replace("0.5,0.5", "0.5,0.4")],
            "row 2: expected probabilities that sum to 1, got 0.9: give one probability per class",
        ),
        (
            [HEADER.replace("logit", "probability"), GOOD.replace("0.5,0.5", "-1,2")],
            r"row 2: expected probability_normal as a number in \[0, 1\], got -1",
        ),
        ([HEADER, '"s'], "expected UTF-8 text with comma-separated values"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        _read(tmp_path, *lines)
    assert str(error.value).startswith(str(tmp_path / "table.csv"))


def test_difficulty_for_some_studies_only(tmp_path: Path) -> None:
    header = "study_id,label,model,difficulty,logit_a,logit_b"
    with pytest.raises(ValueError, match="expected a difficulty for every study or for none"):
        _read(tmp_path, header, "s,0,m,0.5,0,0", "t,0,m,,0,0")
    with pytest.raises(ValueError, match=r"row 3: expected difficulty as a number in \[0, 1\], got 1.5"):
        _read(tmp_path, header, "s,0,m,0.5,0,0", "t,0,m,1.5,0,0")


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a CSV file"):
        Predictions.from_csv(tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="expected UTF-8 text"):
        Predictions.from_csv(tmp_path / "bad.csv")
    with pytest.raises(FileNotFoundError, match="expected an existing folder"):
        random_table(2).to_csv(tmp_path / "none" / "table.csv")
    with pytest.raises(
        FileNotFoundError, match=r"expected a CSV file of predictions, got (no file|the folder)"
    ):
        Predictions.from_csv(tmp_path)
    with pytest.raises(FileExistsError, match="expected a file to write, got the folder"):
        random_table(2).to_csv(tmp_path)
