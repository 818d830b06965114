"""`mura split` and `mura benchmark --predictions`: one table, divided by patient."""

import json

import numpy as np
import pytest

from mura_app.main import run_command
from mura_env import Predictions

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def one_table(tables, tmp_path):
    path = tmp_path / "mine.npz"
    tables[0].save(path)
    return str(path)


def test_a_table_is_divided_by_patient(tables, one_table, tmp_path, capsys):
    command = ["split", one_table, "--test-share", "0.25", "--out", str(tmp_path / "new" / "parts"), "--json"]
    (tmp_path / "new").mkdir()
    assert run_command(command) == 0
    document = json.loads(capsys.readouterr().out)
    train, test = (Predictions.load(document[name]) for name in ("train", "test"))
    assert sorted([*train.study_ids, *test.study_ids]) == sorted(tables[0].study_ids)
    assert not {*train.patient_ids} & {*test.patient_ids}
    assert len(test) == document["n_test_studies"] == pytest.approx(0.25 * len(tables[0]), abs=20)
    assert run_command(command) == 2
    assert "already exists" in capsys.readouterr().err
    assert run_command([*command, "--overwrite"]) == 0


def test_a_benchmark_divides_a_table_as_split_does(one_table, tmp_path, capsys):
    assert run_command(["split", one_table, "--out", str(tmp_path / "parts")]) == 0
    run = tmp_path / "run"
    options = ["--out", str(run), "--agents", "static", "--agent-seeds", "1", "--jobs", "1"]
    command = ["benchmark", "--predictions", one_table, *options]
    assert run_command([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["title"] == "mine"
    for name in ("train", "test"):
        one, other = (
            Predictions.load(folder / f"{name}.npz") for folder in (tmp_path / "parts", run / "predictions")
        )
        np.testing.assert_array_equal(one.study_ids, other.study_ids)
    assert document["n_studies"] == len(other)
    settings = json.loads((run / "config.json").read_text())
    assert (settings["predictions"], settings["test_share"]) == (one_table, 0.3)
    again = ["benchmark", "--resume", "--out", str(run), "--agent-seeds", "1", "--jobs", "1", "--json"]
    assert run_command(again) == 0  # what is left out is kept
    assert run_command([*again, "--test-share", "0.5"]) == 2
    assert "--test-share 0.5 where it has 0.3" in capsys.readouterr().err


def test_the_table_that_is_divided_is_not_written_over(tables, tmp_path, capsys):
    file = tmp_path / "train.npz"
    tables[0].save(file)
    content = file.read_bytes()
    assert run_command(["split", str(file), "--out", str(tmp_path), "--overwrite"]) == 2
    assert "is the table to split; choose another --out" in capsys.readouterr().err
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "given", ["--train x", "--test x", "", "--predictions x --test x", "--train x --test x --test-share .5"]
)
def test_either_two_tables_or_one(given, tmp_path, capsys):
    assert run_command(["benchmark", *given.split(), "--out", str(tmp_path / "run")]) == 2
    assert "either --train and --test, or --predictions" in capsys.readouterr().err


def test_models_in_another_order_are_the_same_benchmark(tables, tmp_path, capsys):
    train, test = tables
    train.save(tmp_path / "train.npz")
    documents = []
    for name, models in (("same", [0, 1]), ("swapped", [1, 0])):
        other = Predictions.from_arrays(
            test.logits[:, models],
            test.labels,
            np.array(test.body_part_names)[test.body_parts],
            study_ids=test.study_ids,
            patient_ids=test.patient_ids,
            model_names=[test.model_names[m] for m in models],
            class_names=test.class_names,
        )
        (tmp_path / name).mkdir()
        other.save(tmp_path / name / "test.npz")
        words = ["--train", str(tmp_path / "train.npz"), "--test", str(tmp_path / name / "test.npz")]
        words += ["--out", str(tmp_path / name / "run"), "--agents", "static_per_body_part", "--json"]
        assert run_command(["benchmark", *words, "--agent-seeds", "1", "--jobs", "1"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == documents[1]
