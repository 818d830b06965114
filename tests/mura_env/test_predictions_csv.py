import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
        "a,0.5,Normal,y,0.5",
        "",
        "a,1,abnormal,x,0",
        "b,0.125,normal,y,0.875",
    )
    # classes in the order of their meaning, models and studies in the order of the rows
    assert table.class_names == ("normal", "abnormal")
    assert table.labels.tolist() == [1, 0]
    assert table.model_names == ("b", "a")
    assert table.study_ids.tolist() == table.patient_ids.tolist() == ["x", "y"]
    expected = [[[0.75, 0.25], [0, 1]], [[0.875, 0.125], [0.5, 0.5]]]
    np.testing.assert_allclose(table.probabilities, expected, atol=1e-6)


def test_rows_of_a_study_with_two_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="expected label 'broken' as in the other rows of study 'x', got 'intact'"
    ):
        _read(tmp_path, "study_id,label,model,logit_broken,logit_intact", "x,broken,m,0,0", "x,intact,n,0,0")


GOOD = "s,p,ELBOW,0,2,m,0.5,0.5"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "expected a header line|expected a column 'study_id'"),
        ([HEADER], "expected at least one row below the header, got an empty table"),
        ([HEADER.replace("model", "net"), GOOD], "expected a column 'model', got the columns 'study_id', "),
        ([HEADER + ",note", GOOD + ",x"], "got 'note'"),
        ([HEADER + ",label", GOOD + ",0"], "expected every column once, got 'label' 2 times"),
        ([HEADER + ",probability_x", GOOD + ",1"], "expected either logit_<class> or probability_<class>"),
        (["study_id,label,model", "s,0,m"], "column for each class, got none"),
        (["study_id,label,model,logit_a", "s,0,m,1"], "got 'logit_a' alone; .* add logit_<other class> = 0"),
        (
            ["study_id,label,model,probability_fracture", "s,0,m,1"],
            "of a sigmoid add probability_<other class> = 1 - probability_fracture",
        ),
        (
            ["study_id,label,model,logit_a,logit_b", "s,a,m,0,0"],
            "which one is positive, got 'a' and 'b'; answer",
        ),
        (
            ["study_id,label,model,logit_No,logit_no", "s,no,m,0,0"],
            "differ in more than spelling, got 'No' and",
        ),
        (
            ["study_id,label,model,logit_broken,logit_intact", "s,1,m,0,0"],
            "row 2: expected a label of the classes 'intact' and 'broken', got '1', which could count",
        ),
        (
            [HEADER, GOOD.replace(",0,2", ",uncertain,2")],
            "got 'uncertain'; correct it, or leave a study without",
        ),
        ([HEADER, GOOD.replace(",0,2", ",-1,2")], "row 2: expected a label of .* got '-1'; correct it"),
        ([HEADER, GOOD.replace(",0,2", ",,2")], "row 2: expected a label of .* got ''; correct it"),
        ([HEADER, GOOD.replace("0.5,0.5", '"0,5",0.5')], "got '0,5'; write a decimal point"),
        (
            [HEADER, GOOD.replace("0.5,0.5", "-inf,0")],
            "got -inf; give probability_ columns where a logit is the",
        ),
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
        (
            [HEADER.replace(",", "|"), GOOD.replace(",", "|")],
            "expected columns with commas, semicolons or tabs",
        ),
        (["," + HEADER, "0," + GOOD], "expected a name for every column, got none for column 1"),
        (["study_id,label,model,logit_a,logit_", "s,0,m,0,0"], "expected a class name after logit_ or prob"),
        (
            [HEADER, GOOD.replace("ELBOW,0", "ELBOW,2")],
            "row 2: expected a label of the classes 'normal' and 'abnormal', got '2'",
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
    header = "study_id,label,model,difficulty,logit_no,logit_yes"
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


@pytest.mark.parametrize(
    ("normal", "positive"), [("normal", "abnormal"), ("intact", "broken"), ("keine", "Fraktur"), ("0", "1")]
)
def test_the_order_of_class_columns_changes_nothing(tmp_path: Path, normal: str, positive: str) -> None:
    rows = [
        (f"s{i}", label, p) for i, (label, p) in enumerate([(normal, 0.2), (positive, 0.9), (positive, 0.4)])
    ]
    found = [
        _read(
            tmp_path,
            f"study_id,label,model,probability_{first},probability_{second}",
            *(
                f"{s},{label},m,{p if first == positive else 1 - p},{1 - p if first == positive else p}"
                for s, label, p in rows
            ),
        )
        for first, second in ((normal, positive), (positive, normal))
    ]
    assert_equal(*found)
    assert found[0].class_names == (normal, positive)
    assert found[0].labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(found[0].probabilities[:, 0, 1], [0.2, 0.9, 0.4], atol=1e-6)


@given(names=st.permutations([str(k) for k in range(12)]), suffix=st.sampled_from(["", ".0"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_a_label_that_is_a_number_is_a_classs_name(tmp_path: Path, names: list[str], suffix: str) -> None:
    table = _read(
        tmp_path,
        "study_id,label,model," + ",".join(f"probability_{name}" for name in names),
        *(f"s{k},{k}{suffix},m," + ",".join(str(int(name == str(k))) for name in names) for k in range(12)),
    )
    assert [table.class_names[label] for label in table.labels] == [str(k) for k in range(12)]
    assert table.class_names == ("0", *(name for name in names if name != "0"))
    np.testing.assert_array_equal(table.logits[:, 0].argmax(axis=1), table.labels)
    table.to_csv(tmp_path / "again.csv")
    assert_equal(Predictions.from_csv(tmp_path / "again.csv"), table)


@pytest.mark.filterwarnings("ignore:Of the classes '2' and '1' the greater number:UserWarning")
def test_classes_1_and_2(tmp_path: Path) -> None:
    lines = ("study_id,label,model,logit_2,logit_1", "x,1,m,0,3", "y,2,m,4,0")
    table = _read(tmp_path, *lines)
    assert (table.class_names, table.labels.tolist()) == (("1", "2"), [0, 1])
    np.testing.assert_array_equal(table.logits[:, 0], [[3, 0], [0, 4]])
    other = Predictions.from_csv(tmp_path / "table.csv", "1")
    assert (other.class_names, other.labels.tolist()) == (("2", "1"), [1, 0])


def test_the_greater_of_two_numbers_is_positive_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match="Of the classes '1' and '2' the greater number is taken for the pos"
    ):
        _read(tmp_path, "study_id,label,model,logit_1,logit_2", "x,1,m,0,3")


@pytest.mark.parametrize("positive", ["cat", "dog"])
def test_the_user_says_which_class_is_positive(tmp_path: Path, positive: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text("study_id,label,model,logit_cat,logit_dog\nx,cat,m,1,0\ny,dog,m,0,2\n")
    table = Predictions.from_csv(path, positive)
    assert table.class_names[1] == positive
    assert [table.class_names[label] for label in table.labels] == ["cat", "dog"]
    table.to_csv(path)
    assert_equal(Predictions.from_csv(path, positive=positive), table)
    with pytest.raises(ValueError, match="which one is positive"):
        Predictions.from_csv(path)


@pytest.mark.parametrize("separator", [";", "\t"])
@given(table=tables())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=10)
def test_semicolons_tabs_and_decimal_commas(tmp_path: Path, separator: str, table: Predictions) -> None:
    table.to_csv(tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_text().replace(",", separator).replace(".", ",")
    (tmp_path / "table.csv").write_text(text)
    assert_equal(Predictions.from_csv(tmp_path / "table.csv", body_part_names=table.body_part_names), table)


def test_probabilities_of_two_decimals_are_divided_by_their_sum_with_a_warning(tmp_path: Path) -> None:
    header = HEADER.replace("logit", "probability")
    with pytest.warns(
        UserWarning, match=r"2 of 3 rows of probabilities sum to 1 only after rounding .* to 0\.99\)"
    ):
        table = _read(
            tmp_path,
            header,
            *(f"s{i},p,ELBOW,0,1,m,{p}" for i, p in enumerate(["0.66,0.33", "0.5,0.5", "0.34,0.65"])),
        )
    np.testing.assert_allclose(table.probabilities[:, 0, 0], [2 / 3, 0.5, 34 / 99], atol=1e-6)


def test_identifiers_and_body_parts_of_two_spellings_are_one(tmp_path: Path) -> None:
    header = "study_id,patient_id,body_part,label,model,logit_no,logit_yes"
    with pytest.warns(
        UserWarning, match="spellings of one body part are taken for the same: 'hand' for 'Hand'"
    ):
        table = _read(
            tmp_path,
            header,
            "1,12,Hand,no,m,0,0",
            "1.0,12.0,Hand,No,n,0,0",
            "2.0,12.00,hand,yes,m,0,0",
            "2,12,hand,YES,n,0,0",
        )
    assert table.study_ids.tolist() == ["1", "2"]
    assert set(table.patient_ids.tolist()) == {"12"}
    assert table.body_part_names == ("Hand",)


def test_very_many_columns_are_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    n = 10**4
    values = ["0"] * n
    values[n // 2] = "1"
    table = _read(
        tmp_path,
        "study_id,label,model," + ",".join(f"probability_{k}" for k in range(n)),
        f"x,{n // 2},m," + ",".join(values),
    )
    assert (table.n_classes, table.labels.tolist()) == (n, [n // 2])
    for columns, words in ((["a"] * n, "got 'a' 10000 times"), ([f"c{k}" for k in range(n)], "got 'c0'")):
        with pytest.raises(ValueError, match=words) as error:
            _read(tmp_path, "study_id,label,model," + ",".join(columns))
        assert len(str(error.value)) < 500
    with pytest.raises(ValueError, match="expected at most 1,000,000 columns, got 1,000,004"):
        _read(tmp_path, "study_id,label,model" + "," * (10**6 + 1))
