import copy
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mura_env import Predictions
from tests.mura_env.tables import random_table, tables

COLUMNS = ("logits", "labels", "body_parts", "study_ids", "patient_ids", "n_views", "difficulty")
NAMES = ("model_names", "class_names", "body_part_names")


def assert_equal(first: Predictions, second: Predictions) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    for name in NAMES:
        assert getattr(first, name) == getattr(second, name)


def test_defaults_of_from_arrays() -> None:
    table = Predictions.from_arrays([[[0.0, 1.0]], [[2.0, 0.0]]], [1, 0])
    assert table.logits.dtype == np.float32
    assert table.labels.dtype == table.body_parts.dtype == table.n_views.dtype == np.int64
    assert table.study_ids.tolist() == table.patient_ids.tolist() == ["study-0", "study-1"]
    assert (table.model_names, table.class_names) == (("model-0",), ("normal", "abnormal"))
    assert table.body_part_names == ("all",)
    assert table.n_views.tolist() == [1, 1]
    assert table.difficulty is None
    assert len(table) == 2


def test_three_classes_get_numbered_names() -> None:
    assert Predictions.from_arrays(np.zeros((1, 1, 3)), [2]).class_names == ("class-0", "class-1", "class-2")


def test_body_parts_by_name_are_sorted_or_follow_the_names_given() -> None:
    logits, labels = np.zeros((3, 1, 2)), [0, 1, 0]
    table = Predictions.from_arrays(logits, labels, ["WRIST", "ELBOW", "WRIST"])
    assert table.body_part_names == ("ELBOW", "WRIST")
    assert table.body_parts.tolist() == [1, 0, 1]
    given_names = Predictions.from_arrays(logits, labels, ["b", "a", "b"], body_part_names=["b", "c", "a"])
    assert given_names.body_parts.tolist() == [0, 2, 0]
    with pytest.raises(ValueError, match=r"expected body parts among \('a',\), got 'b'"):
        Predictions.from_arrays(logits, labels, ["b", "a", "b"], body_part_names=["a"])


@given(tables())
def test_probabilities_are_the_softmax(table: Predictions) -> None:
    logits = table.logits.astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True))
    expected = exponentials / exponentials.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(table.probabilities, expected, atol=1e-6)


def test_from_probabilities_gives_them_back() -> None:
    probabilities = np.array([[[0.2, 0.8], [1.0, 0.0]], [[0.5, 0.5], [0.334, 0.6665]]])
    table = Predictions.from_probabilities(probabilities, [0, 1])
    expected = probabilities / probabilities.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(table.probabilities, expected, atol=1e-6)
    assert np.isfinite(table.logits).all()


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([[[0.2, 0.7]]], "expected probabilities that sum to 1, got 0.9 for study 0, model 0"),
        ([[[-0.5, 1.5]]], r"expected probabilities in \[0, 1\], got -0.5 for study 0, model 0, class 0"),
        ([[[np.nan, 1.0]]], "expected finite probabilities"),
    ],
)
def test_probabilities_are_checked(probabilities: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictions.from_probabilities(probabilities, [0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": np.zeros((2, 2))}, r"expected logits of shape \(n_studies, n_models, n_classes\)"),
        ({"logits": [[[0, 1]], [[0]]]}, "expected logits as one array, got rows of different lengths"),
        ({"labels": [[0], [0, 1]]}, "expected labels as one array, got rows of different lengths"),
        ({"patient_ids": np.array(["a", None])}, "expected patient ids of strings, got None in row 1"),
        ({"patient_ids": np.array(["a", np.nan], object)}, "patient ids of strings, got nan in row 1"),
        ({"body_parts": np.array([None, "a"])}, "expected body parts of strings, got None in row 0"),
        ({"body_parts": "ELBOW"}, r"expected one of body parts per study, got shape \(\)"),
        ({"body_parts": ["a", ""]}, "expected body parts that are not empty, got an empty one in row 1"),
        ({"logits": np.zeros((0, 1, 2)), "labels": []}, "at least one study, got an empty table"),
        ({"logits": np.zeros((2, 0, 2))}, "at least 1 model and 2 classes"),
        ({"logits": np.zeros((2, 1, 1))}, "at least 1 model and 2 classes"),
        ({"logits": [[["a", "b"]], [["c", "d"]]]}, "expected logits of real numbers"),
        ({"logits": np.full((2, 1, 2), np.nan)}, r"expected finite logits, got nan at \[0, 0, 0\]"),
        ({"logits": np.full((2, 1, 2), 1e300)}, r"expected finite logits, got inf at \[0, 0, 0\]"),
        ({"labels": [0, 2]}, r"expected labels in \[0, 2\), got 2 in row 1"),
        ({"labels": [0, -1]}, r"expected labels in \[0, 2\), got -1 in row 1"),
        ({"labels": [0.0, 1.0]}, "expected integer labels, got dtype float64"),
        ({"labels": [0]}, "expected one of labels per study"),
        ({"body_parts": [0, 3], "body_part_names": ["a"]}, r"expected body parts in \[0, 1\), got 3"),
        ({"n_views": [1, 0]}, "expected n_views at least 1, got 0 in row 1"),
        ({"study_ids": ["a", "a"]}, "expected unique study ids, got 'a' 2 times"),
        ({"study_ids": ["a", ""]}, "expected study ids that are not empty"),
        ({"study_ids": [0.5, 1.5]}, "expected study ids of strings"),
        ({"patient_ids": ["a"]}, "expected one of patient ids per study"),
        ({"model_names": ["a", "b"]}, "expected 1 model names, got 2"),
        ({"model_names": "a"}, "expected a sequence of model names, got the string 'a'"),
        ({"class_names": ["a", "a"]}, "expected class names that differ"),
        ({"difficulty": [0.0, 1.5]}, r"expected difficulty in \[0, 1\], got 1.5 in row 1"),
        ({"difficulty": [0.0]}, "expected one difficulty per study"),
    ],
)
def test_every_column_is_checked(changes: dict[str, object], message: str) -> None:
    columns: dict[str, object] = {"logits": np.zeros((2, 1, 2)), "labels": [0, 1], **changes}
    with pytest.raises(ValueError, match=message):
        Predictions.from_arrays(**columns)  # type: ignore[arg-type] # wrong on purpose


def test_the_table_is_a_read_only_copy() -> None:
    logits = np.zeros((2, 1, 2), dtype=np.float32)
    table = Predictions.from_arrays(logits, [0, 1])
    logits[:] = 7
    assert (table.logits == 0).all()
    for name in COLUMNS[:-1]:
        assert not getattr(table, name).flags.writeable
    assert copy.deepcopy(table) is copy.copy(table) is table


def test_a_pickled_table_is_equal() -> None:
    table = random_table(difficulty=np.linspace(0, 1, 60))
    assert_equal(pickle.loads(pickle.dumps(table)), table)  # noqa: S301 - our own bytes; worker processes need it


def test_select() -> None:
    table = random_table(10, difficulty=np.linspace(0, 1, 10))
    for index in ([3, 1], np.arange(10) > 6, slice(2, 8, 3), 4):
        rows = np.atleast_1d(np.arange(10)[index])
        selected = table.select(index)
        np.testing.assert_array_equal(selected.logits, table.logits[rows])
        np.testing.assert_array_equal(selected.study_ids, table.study_ids[rows])
        np.testing.assert_array_equal(selected.difficulty, np.linspace(0, 1, 10, dtype=np.float32)[rows])
        assert selected.body_part_names == table.body_part_names


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([], "at least one study"),
        (slice(0, 0), "at least one study"),
        (np.zeros(10, bool), "at least one study"),
        ([10], "expected rows of a table of 10 studies"),
        ([True], "expected rows of a table of 10 studies"),
        ([1, 1], "expected unique study ids"),
        ([0.5], "expected row indices, a boolean mask or a slice"),
    ],
)
def test_select_is_checked(index: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_table(10).select(index)  # type: ignore[arg-type] # wrong on purpose


def test_concatenate_gives_back_what_was_split() -> None:
    table = random_table(50)
    first, second = table.split(0.7, seed=3)
    rows = np.argsort([int(i.split("-")[1]) for i in [*first.study_ids, *second.study_ids]])
    assert_equal(Predictions.concatenate([first, second]).select(rows), table)


def test_concatenate_matches_body_parts_by_name() -> None:
    first = Predictions.from_arrays(np.zeros((2, 1, 2)), [0, 1], ["a", "c"], study_ids=["1", "2"])
    second = Predictions.from_arrays(
        np.zeros((2, 1, 2)), [0, 1], ["b", "c"], study_ids=["3", "4"], difficulty=[0, 1]
    )
    both = Predictions.concatenate((first, second))
    assert [both.body_part_names[i] for i in both.body_parts] == ["a", "c", "b", "c"]
    assert both.difficulty is None


def test_concatenate_is_checked() -> None:
    table = random_table(5)
    with pytest.raises(ValueError, match="at least one table"):
        Predictions.concatenate([])
    with pytest.raises(ValueError, match="expected unique study ids"):
        Predictions.concatenate([table, table])
    with pytest.raises(ValueError, match="expected tables of equal model_names"):
        Predictions.concatenate([table, random_table(5, n_models=2)])


def test_split_is_checked() -> None:
    for fraction in (0, 1, np.nan):
        with pytest.raises(ValueError, match=r"expected fraction in the range \(0, 1\)"):
            random_table().split(fraction, seed=0)
    for seed in (-1, 1.5, True):
        with pytest.raises(ValueError, match=rf"expected seed .*in the range \[0, 4294967295\], got {seed}"):
            random_table().split(0.5, seed=seed)  # type: ignore[arg-type] # wrong on purpose


def test_a_patient_on_both_sides_is_named() -> None:
    table = random_table(4, patient_ids=["a", "b", "b", "c"])
    table.select([0, 1]).require_disjoint_patients(table.select([3]))
    with pytest.raises(ValueError, match=r"got 1 in both \(for example 'b'\): split by patient"):
        table.select([0, 1]).require_disjoint_patients(table.select([2, 3]))


def test_repr_says_what_is_in_it() -> None:
    table = random_table(3, n_models=9, patient_ids=["a", "a", "b"])
    text = repr(table)
    assert "3 studies" in text
    assert "of 2 patients" in text
    assert "9 models (model-0, model-1, model-2, model-3, model-4, model-5, model-6, … 2 more)" in text
    assert "4 body parts" in text
    assert len(text) < 400


@given(table=tables(), data=st.data())
def test_one_study_can_be_selected_from_any_table(table: Predictions, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(table) - 1))
    assert table.select(row).study_ids.tolist() == [table.study_ids[row]]


def test_classes_whose_names_say_another_order_move_with_logits_and_labels() -> None:
    logits = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    given = Predictions.from_arrays(logits, [0, 1], class_names=("abnormal", "normal"))
    assert (given.class_names, given.labels.tolist()) == (("normal", "abnormal"), [1, 0])
    np.testing.assert_array_equal(given.logits, logits[..., ::-1])
    several = Predictions.from_arrays(
        np.eye(3)[:, None], [0, 1, 2], class_names=("tear", "normal", "fracture")
    )
    assert several.class_names == ("normal", "tear", "fracture")
    assert several.labels.tolist() == [1, 0, 2]
    np.testing.assert_array_equal(several.logits[:, 0].argmax(axis=1), several.labels)
    open_pair = Predictions.from_arrays(
        logits, [0, 1], class_names=("dog", "cat")
    )  # axis order is the caller's
    assert (open_pair.class_names, open_pair.labels.tolist()) == (("dog", "cat"), [0, 1])


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("normal", "Fracture"), [0, 1, 1]), (("fracture", "normal"), [0, 1, 1]), (("1", "2"), None)],
)
def test_labels_may_be_names(names: tuple[str, str], expected: list[int] | None) -> None:
    labels = ["1.0", "2", "2"] if expected is None else ["normal", "fracture", "FRACTURE "]
    table = Predictions.from_arrays(np.zeros((3, 1, 2)), labels, class_names=names)
    assert table.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (("1", "2"), [1, 2], "expected labels as text beside the class names '1' and '2', got int64"),
        (("1", "0"), [0, 1], "a number could be a class's name or its position"),
        (tuple(sorted(map(str, range(12)))), [2] * 2, "expected labels as text"),
        (("a", "b"), ["a", "c"], "expected labels among 'a' and 'b', got 'c'"),
        (("Normal", "normal"), [0, 1], "differ in more than spelling"),
    ],
)
def test_labels_that_could_be_read_twice_are_refused(
    names: tuple[str, ...], labels: list[object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Predictions.from_arrays(np.zeros((2, 1, len(names))), labels, class_names=names)


def test_labels_may_be_positions_where_names_are_numbers_in_order() -> None:
    table = Predictions.from_arrays(np.zeros((2, 1, 3)), [2, 0], class_names=("0", "1", "2"))
    assert table.labels.tolist() == [2, 0]


def test_an_unpickled_table_is_read_only_and_keeps_its_classes() -> None:
    table = random_table(3, difficulty=[0, 0.5, 1], class_names=("dog", "cat"))
    again = pickle.loads(pickle.dumps(table))  # noqa: S301 - our own bytes
    assert_equal(again, table)
    for name in COLUMNS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(again, name)[0] = getattr(again, name)[1]


@pytest.mark.parametrize("column", ["logits", "labels", "body_parts", "patient_ids", "n_views", "difficulty"])
def test_masked_values_are_refused_and_whole_masked_arrays_read(column: str) -> None:
    columns = {
        "logits": np.zeros((2, 1, 2)),
        "labels": np.array([0, 1]),
        "body_parts": np.array([0, 0]),
        "patient_ids": np.array(["a", "b"]),
        "n_views": np.array([1, 1]),
        "difficulty": np.array([0.0, 1.0]),
    }
    whole = np.ma.masked_array(columns[column], mask=False)  # type: ignore[no-untyped-call]
    assert len(Predictions.from_arrays(**{**columns, column: whole})) == 2
    whole[0] = np.ma.masked
    with pytest.raises(ValueError, match="without masked values, got some"):
        Predictions.from_arrays(**{**columns, column: whole})
    if column == "logits":
        with pytest.raises(ValueError, match="without masked values, got some"):
            Predictions.from_arrays([*whole], [0, 1])


def test_a_patient_whose_id_became_a_float_is_the_same() -> None:
    ids = ["12", "13", "14"]
    table = Predictions.from_arrays(np.zeros((3, 1, 2)), [0, 1, 0], patient_ids=ids)
    other = Predictions.from_arrays(np.zeros((3, 1, 2)), [0, 1, 0], patient_ids=["12.0", "20.000", "1.2.0"])
    assert other.patient_ids.tolist() == ["12", "20", "1.2.0"]
    with pytest.raises(ValueError, match=r"got 1 in both \(for example '12'\)"):
        table.require_disjoint_patients(other)
    with pytest.raises(ValueError, match="expected unique study ids, got '12' 2 times"):
        Predictions.from_arrays(np.zeros((2, 1, 2)), [0, 1], study_ids=["12", "12.0"])


@given(st.integers(0, 100), st.integers(0, 100), st.integers(2, 9))
def test_probabilities_of_two_decimals_keep_their_ratios(first: int, second: int, n_classes: int) -> None:
    shares = np.array([first, second, *[100] * (n_classes - 2)]) + 1.0
    rounded = np.round(shares / shares.sum(), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        table = Predictions.from_probabilities(rounded[None, None], [0])
    np.testing.assert_allclose(table.probabilities[0, 0], rounded / rounded.sum(), atol=1e-6)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([[[0.0, -np.inf]]], "logarithm of a probability of zero, use Predictions.from_probabilities"),
        (np.zeros((2, 3)), "of a sigmoid's p give from_probabilities both classes"),
        (np.zeros((2, 3, 1)), "give the output p of a sigmoid as the probabilities 1 - p and p"),
    ],
)
def test_what_to_do_about_a_sigmoid_and_the_logarithm_of_zero_is_said(logits: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictions.from_arrays(logits, [0, 1])  # type: ignore[arg-type] # wrong on purpose
