"""Tables as people have them: other names of columns, one row per study, decimal commas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from mura_env import Columns, Predictions, matched_to
from tests.mura_env.tables import random_table, tables

OWN = Columns(id="case", label="diagnosis", patient="pid", group="site", model_columns=("A", "B"))


def read(folder: Path, text: str, columns: Columns = OWN, positive: str | None = None) -> Predictions:
    (folder / "own.csv").write_text(text, encoding="utf-8")
    return Predictions.from_csv(folder / "own.csv", positive, columns=columns)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_wide_form_with_one_probability_per_model(tmp_path: Path, delimiter: str) -> None:
    text = "case|site|B|A|pid|diagnosis\n7|north|0.25|0.9|p|fracture\n8|south|0|1|q|Normal\n"
    text += "9|south|0.5|0.5|q|normal\n"
    if delimiter != ",":
        text = text.replace(".", ",")
    table = read(tmp_path, text.replace("|", delimiter))
    assert (table.model_names, table.class_names) == (("A", "B"), ("Normal", "fracture"))
    assert [table.body_part_names[part] for part in table.body_parts] == ["north", "south", "south"]
    assert (table.labels.tolist(), table.patient_ids.tolist()) == ([1, 0, 0], ["p", "q", "q"])
    np.testing.assert_allclose(
        table.probabilities[:, :, 1], [[0.9, 0.25], [1, 0], [0.5, 0.5]], rtol=1e-6, atol=1e-11
    )


@pytest.mark.filterwarnings("ignore:Columns that are not read")
@given(tables())
def test_wide_form_of_any_classes_is_the_long_form(
    tmp_path_factory: pytest.TempPathFactory, table: Predictions
) -> None:
    folder = tmp_path_factory.mktemp("wide")
    order = np.random.default_rng(0).permutation(table.n_models)
    names = [f"{table.model_names[m]}_{name}" for m in order for name in table.class_names]
    lines = [",".join(["label", *names, "study_id", "remark"])]
    for study, label in enumerate(table.labels):
        values = [f"{table.probabilities[study, m, k]:.9g}" for m in order for k in range(table.n_classes)]
        lines.append(",".join([table.class_names[label], *values, str(table.study_ids[study]), "?"]))
    own = read(folder, "\n".join(lines), Columns(model_columns=table.model_names))
    assert own.model_names == table.model_names
    assert own.class_names == table.class_names
    np.testing.assert_array_equal(own.labels, table.labels)
    np.testing.assert_allclose(own.probabilities, table.probabilities, atol=1e-6)


def test_long_form_under_other_names_and_what_is_not_read(tmp_path: Path) -> None:
    text = "case,diagnosis,label,net,probability_no,probability_yes\n1,yes,x,a,.2,.8\n2,no,y,a,.6,.4\n"
    columns = Columns(id="case", label="diagnosis", model="net")
    with pytest.warns(UserWarning, match=r"not read: 'label'\."):
        table = read(tmp_path, text, columns)
    assert table.labels.tolist() == [1, 0]
    assert table.model_names == ("a",)


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("case,diagnosis,pid,site,A", "1,no,p,n,.5", "expected a column 'B', or B_<class> for each class"),
        ("case,diagnosis,pid,site,A,B_no,B_yes", "1,no,p,n,.5,.5,.5", "same classes for every model"),
        ("case,diagnosis,pid,A,B", "1,no,p,.5,.5", "expected the column 'site' once"),
        ("case,case,diagnosis,pid,site,A,B", "1,1,no,p,n,.5,.5", "expected the column 'case' once"),
        ("case,diagnosis,pid,site,A,B", "1,no,p,n,.5,1.5", r"row 3: expected B as a probability .*'1\.5'"),
        ("case,diagnosis,pid,site,A,B", "1,no,p,n,.5,x", "row 3: expected B as a probability .*'x'"),
        ("case,diagnosis,pid,site,A,B", "1,no,p,n,.5", "row 3: expected 6 cells, got 5"),
        ("case,diagnosis,pid,site,A,B", "1,yes,p,n,.5,.5", "labels of two classes .*got 'yes'"),
        ("case,diagnosis,pid,site,A,B", "1,apple,p,n,.5,.5", "say which one is positive"),
        ("case,diagnosis,pid,site,A,B,A", "1,no,p,n,.5,.5,.6", "every column once, got 'A' 2 times"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, header: str, row: str, words: str) -> None:
    first = (
        row.replace("1,", "2,", 1)
        .replace("no", "yes")
        .replace("apple", "pear")
        .replace("1.5", ".5")
        .replace("x", ".5")
    )
    first += ",.5" * (header.count(",") - row.count(","))
    with pytest.raises(ValueError, match=words):
        read(tmp_path, f"{header}\n{first}\n{row}\n")


def test_a_name_that_another_begins_with_takes_none_of_its_columns(tmp_path: Path) -> None:
    header = "study_id,label,net_big_no,net_big_yes,net_no,net_yes"
    for models in (("net", "net_big"), ("net_big", "net")):
        table = read(tmp_path, f"{header}\n1,no,.9,.1,.6,.4\n", Columns(model_columns=models))
        assert table.model_names == models
        of = dict(zip(models, table.probabilities[0, :, 1].tolist(), strict=True))
        assert of == pytest.approx({"net": 0.4, "net_big": 0.1})
    with pytest.raises(ValueError, match="every column once, got 'net_no' 2 times"):
        read(tmp_path, "study_id,label,net_no,net_yes,net_no\n1,no,1,0,0\n", Columns(model_columns=("net",)))


def test_tables_without_rows_or_with_very_many_columns_are_one_sentence(tmp_path: Path) -> None:
    for text, words in (("", "a header line"), ("study_id,label,A\n", "at least one row")):
        with pytest.raises(ValueError, match=words):
            read(tmp_path, text, Columns(model_columns=("A",)))
    models = tuple(f"m{number}" for number in range(30_000))  # time that grows with the square: a minute
    text = f"study_id,label,{','.join(models)}\n1,no{',.5' * len(models)}\n2,yes{',.5' * (len(models) - 1)}\n"
    with pytest.raises(ValueError, match="row 3: expected 30002 cells, got 30001"):
        read(tmp_path, text, Columns(model_columns=models))


def test_a_column_has_one_purpose_and_required_ones_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="for one purpose, got 'a' for 2"):
        read(tmp_path, "a,A\n1,1\n", Columns(id="a", label="a"))
    with pytest.raises(ValueError, match="either --model or --model-columns"):
        read(tmp_path, "a,A\n1,1\n", Columns(model="a", model_columns=("A",)))
    with pytest.raises(ValueError, match=r"expected a column 'study_id', got the columns 'label'"):
        read(tmp_path, "b,A_no,A_yes\nno,1,0\n", Columns(label="b", model_columns=("A",)))
    with pytest.raises(ValueError, match=r"expected a column 'label'.*with --label"):
        read(tmp_path, "a,A\n1,1\n", Columns(id="a", model_columns=("A",)))
    with pytest.raises(ValueError, match=r"such as --id case"):
        read(tmp_path, "a,A\n1,1\n", Columns())


@given(tables())
def test_models_and_classes_are_matched_by_name(table: Predictions) -> None:
    rng = np.random.default_rng(0)
    models = rng.permutation(table.n_models)
    classes = rng.permutation(table.n_classes)
    other = Predictions.from_arrays(
        table.logits[:, models][:, :, classes],
        [table.class_names[label] for label in table.labels],
        model_names=[table.model_names[m] for m in models],
        class_names=[table.class_names[k] for k in classes],
        costs=[m + 1.0 for m in models],
    )
    matched = matched_to(other, table)
    assert (matched.model_names, matched.class_names) == (table.model_names, table.class_names)
    np.testing.assert_array_equal(matched.logits, table.logits)
    np.testing.assert_array_equal(matched.labels, table.labels)
    assert matched.costs is not None
    assert matched.costs.tolist() == [m + 1 for m in range(table.n_models)]
    assert matched_to(table, table) is table


def test_tables_of_other_models_or_classes_are_refused() -> None:
    table = random_table(5)
    for other in (random_table(5, n_models=2), random_table(5, n_classes=3)):
        with pytest.raises(ValueError, match=r"same ensemble, with the (model|class) names"):
            matched_to(other, table)
