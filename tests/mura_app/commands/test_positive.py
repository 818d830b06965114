"""The positive class through the commands: asked for, kept in the run, and named in every output."""

import json
from pathlib import Path

import numpy as np
import pytest

from mura_app.external_validation import _matched_classes
from mura_app.main import run_command
from mura_app.predictions_io import load_table
from mura_env import Predictions
from tests.base_models.trees import picture, save_picture
from tests.mura_app.conftest import make_table

pytestmark = pytest.mark.usefixtures("undrawn")


def _csv(path: Path, table: Predictions, names: tuple[str, str]) -> Path:
    """Write a table with other class names, labels as names, and the columns in the other order."""
    lines = ["study_id,patient_id,body_part,label,model," + ",".join(f"logit_{name}" for name in names[::-1])]
    for row in range(len(table)):
        study = f"{table.study_ids[row]},{table.patient_ids[row]},x,{names[table.labels[row]]}"
        for number, model in enumerate(table.model_names):
            first, second = (f"{value:.9g}" for value in table.logits[row, number])
            lines.append(f"{study},{model},{second},{first}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_benchmark_asks_for_the_positive_class_and_keeps_the_answer(tmp_path, capsys):
    tables = {name: make_table(120, seed, name, 1) for seed, name in enumerate(("train", "test"))}
    files = [
        f"--{name}={_csv(tmp_path / f'{name}.csv', table, ('cat', 'dog'))}" for name, table in tables.items()
    ]
    command = [
        "benchmark",
        *files,
        "--out",
        str(tmp_path / "run"),
        "--agents",
        "static",
        "--agent-seeds",
        "1",
    ]
    assert run_command([*command, "--jobs", "1"]) == 2
    assert "which one is positive, got 'dog' and 'cat'; answer with --positive cat" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert run_command([*command, "--jobs", "1", "--positive", "dog"]) == 0
    assert "positive class: dog" in capsys.readouterr().out
    found = json.loads((tmp_path / "run" / "benchmark.json").read_text())
    assert (found["protocol"]["class_names"], found["protocol"]["positive_class"]) == (["cat", "dog"], "dog")
    predicted = tables["test"].probabilities.mean(axis=1).argmax(axis=1)
    expected = (predicted == 1)[tables["test"].labels == 1].mean()
    assert found["agents"]["uniform"]["sensitivity"]["mean"] == pytest.approx(expected)
    for page in ("report.html", "MODEL_CARD.md"):
        assert "positive class: dog" in (tmp_path / "run" / page).read_text()
    evaluate = ["evaluate", "--run", str(tmp_path / "run"), "--predictions"]
    outside = _csv(tmp_path / "outside.csv", make_table(80, 5, "outside", 1), ("cat", "dog"))
    assert run_command([*evaluate, str(outside)]) == 2  # what the run learned from is read without a question
    assert "which one is positive" in capsys.readouterr().err
    assert run_command([*evaluate, str(outside), "--positive", "dog"]) == 0
    assert run_command([*evaluate, str(outside), "--positive", "cat", "--overwrite"]) == 2
    assert (
        "expected the run's positive class 'dog', got --positive cat; name the run's"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("names", "words"), [(("intact", "broken"), "positive class: broken"), (("1", "2"), "positive class: 2")]
)
def test_an_import_and_a_fit_say_which_class_is_positive(names, words, tmp_path, capsys):
    table = make_table(60, 0, "a", 1)
    file, out = _csv(tmp_path / "t.csv", table, names), tmp_path / "t.npz"
    assert run_command(["import-predictions", str(file), "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert words in captured.err
    assert ("the greater number is taken" in captured.err) == (names[0] == "1")
    loaded = Predictions.load(out)
    assert loaded.class_names == names
    np.testing.assert_array_equal(loaded.labels, table.labels)
    fit = ["fit-agent", "static", "--predictions", str(out), "--out"]
    assert run_command([*fit, str(tmp_path / "agent")]) == 0
    assert words in capsys.readouterr().err
    assert run_command([*fit, str(tmp_path / "other"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["positive_class"] == names[1]


def test_a_saved_table_keeps_its_order_unless_told_otherwise(tmp_path):
    table = Predictions.from_arrays(np.arange(8.0).reshape(2, 2, 2), [0, 1], class_names=("dog", "cat"))
    table.save(tmp_path / "t.npz")
    assert load_table(tmp_path / "t.npz").class_names == ("dog", "cat")
    turned = load_table(tmp_path / "t.npz", "dog")
    assert (turned.class_names, turned.labels.tolist()) == (("cat", "dog"), [1, 0])
    np.testing.assert_array_equal(turned.logits, table.logits[..., ::-1])
    with pytest.raises(ValueError, match="expected one of the classes for positive 'cow'"):
        load_table(tmp_path / "t.npz", "cow")


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("normal", "abnormal"), ("normal", "fractured"), [0, 1]),
        (("abnormal", "normal"), ("intact", "broken"), [1, 0]),  # a run of an earlier version
        (("a", "b", "c"), ("c", "A", "b"), [2, 0, 1]),
        (("b", "a"), ("a", "b"), [1, 0]),
        (("class0", "class1"), ("normal", "abnormal"), [0, 1]),
    ],
)
def test_outside_classes_are_matched_by_name_or_by_meaning(ours, theirs, expected):
    labels, remarks = _matched_classes(ours, theirs)
    assert labels == expected
    by_name = {name.casefold() for name in ours} == {name.casefold() for name in theirs}
    assert bool(remarks) != by_name
    if remarks:
        assert f"{theirs[1]} as {ours[labels[1]]}" in remarks[0]


@pytest.mark.parametrize("theirs", [("a", "b", "x"), ("a", "b"), ("class0", "class1", "class2", "class3")])
def test_outside_classes_of_other_names_are_refused(theirs):
    with pytest.raises(ValueError, match="expected a data set of the classes 'a', 'b', 'c', got"):
        _matched_classes(("a", "b", "c"), theirs)


def _radiographs(folder: Path, n: int, prefix: str) -> Path:
    lines = ["path;study_id;patient_id;body_part;label"]
    for number in range(n):
        save_picture(folder / f"{number}.png", picture(number + 1000 * len(prefix)))
        lines.append(f"{number}.png;{prefix}{number};{prefix}{number}.0;hand;{('dog', 'cat')[number % 2]}")
    (folder / "studies.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_on_radiographs_asks_once(tmp_path, capsys):
    data, out = _radiographs(tmp_path / "data", 60, "p"), tmp_path / "run"
    assert run_command(["check-data", str(data), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert any("which one is positive" in fault for fault in document["problems"]["contradictions"])
    assert not document["ok"]
    assert run_command(["check-data", str(data), "--positive", "cat"]) == 0
    assert "Classes: dog, cat; positive class: cat." in capsys.readouterr().out
    command = ["run", "--data", str(data), "--out", str(out), "--preset", "demo", "--agents", "best_single"]
    command += [
        "--members",
        "attention_cnn:2:16:1",
        "--agent-seeds",
        "1",
        "--ensemble.training.batch-size",
        "8",
    ]
    assert run_command(command) == 2
    assert "answer with --positive dog or --positive cat" in capsys.readouterr().err
    assert not out.exists()
    assert run_command([*command, "--positive", "cat"]) == 0
    assert json.loads((out / "config.json").read_text())["positive"] == "cat"
    assert Predictions.load(out / "predictions" / "train.npz").class_names == ("dog", "cat")
    capsys.readouterr()
    assert run_command([*command, "--positive", "dog", "--resume"]) == 2
    again = ["run", "--config", str(out / "config.json"), "--out", str(out), "--resume"]
    assert run_command(again) == 0  # the settings of a run hold the answer
    capsys.readouterr()
    other = _radiographs(tmp_path / "other", 12, "other")
    assert run_command(["evaluate", "--run", str(out), "--data", str(other), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["protocol"]["positive_class"] == "cat"
    assert set(json.loads(captured.out)["controls"]) == {"metadata only", "majority"}  # of the run's own data
    scored = Predictions.load(out / "evaluations" / "other" / "predictions" / "test.npz")
    assert scored.labels.tolist() == [0, 1] * 6
