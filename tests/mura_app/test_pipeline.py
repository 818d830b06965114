import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import save_file

from base_models import create_model
from base_models.config import MemberConfig
from base_models.presets import PRESETS
from mura_app.main import run_command
from mura_app.pipeline import PipelineConfig, train_base_models
from mura_app.run_directory import RunDirectory
from mura_env import Predictions
from tests.base_models.trees import picture, save_picture
from tests.processors import processors

TINY = [
    "--preset",
    "demo",
    "--agents",
    "best_single",
    "--agent-seeds",
    "2",
    "--ensemble.training.batch-size",
    "16",
    "--ensemble.members.0.epochs",
    "1",
    "--ensemble.members.1.epochs",
    "1",
    "--ensemble.members.2.epochs",
    "1",
    "--ensemble.members.0.image-size",
    "16",
    "--ensemble.members.1.image-size",
    "16",
    "--ensemble.members.2.image-size",
    "16",
]


@pytest.fixture(scope="module")
def finished(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert run_command(["run", "--data", str(tree), "--out", str(out), *TINY]) == 0
    return out


def test_a_run_leaves_everything_the_design_names(finished):
    for name in (
        "config.json",
        "members",
        "predictions/train.npz",
        "predictions/test.npz",
        "predictions/test-folds.npz",
        "agents/uniform-seed0/agent.json",
        "agents/best_single-seed0/agent.json",
        "benchmark.json",
        "report.html",
        "MODEL_CARD.md",
    ):
        assert (finished / name).exists(), name


def test_the_benchmark_document_has_the_public_form(finished):
    document = json.loads((finished / "benchmark.json").read_text())
    test = Predictions.load(finished / "predictions" / "test.npz")
    assert document["n_studies"] == len(test)
    assert document["seeds"] == [0, 1]
    for row in document["agents"].values():
        for figure in ("accuracy", "kappa", "auroc"):
            assert set(row[figure]) >= {"mean", "ci95"}
        assert set(row["per_body_part"]) == set(test.body_part_names)
        assert set(row["vs_uniform"]) >= {"accuracy_difference", "ci95", "mcnemar_p"}


def test_the_figures_of_uniform_can_be_recomputed_from_the_table(finished):
    document = json.loads((finished / "benchmark.json").read_text())
    test = Predictions.load(finished / "predictions" / "test.npz")
    right = 0
    for logits, label in zip(test.logits.astype(np.float64), test.labels, strict=True):
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        right += int(probabilities.mean(axis=0).argmax() == label)
    assert document["agents"]["uniform"]["accuracy"]["mean"] == pytest.approx(right / len(test), abs=1e-9)


def test_a_finished_run_is_neither_overwritten_nor_lost(tree, finished, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert run_command(["run", "--data", str(tree), "--out", str(finished), *TINY]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_run_on_two_processors_gives_the_same_benchmark(tree, finished, tmp_path):
    """The fits, the tables and the benchmark each have a faster test of the same."""
    with processors(2):
        assert run_command(["run", "--data", str(tree), "--out", str(tmp_path / "run"), *TINY]) == 0
    documents = [json.loads((run / "benchmark.json").read_text()) for run in (finished, tmp_path / "run")]
    assert documents[0] == documents[1]


def test_resuming_after_a_loss_gives_the_benchmark_of_the_run(tree, finished, tmp_path, capsys):
    out = shutil.copytree(finished, tmp_path / "resumed")
    arguments = ["run", "--data", str(tree), "--out", str(out), *TINY]
    for lost in ("benchmark.json", "report.html", "predictions/test.npz"):
        (out / lost).unlink()
    next((out / "members").rglob("*.safetensors")).unlink()
    capsys.readouterr()
    assert run_command([*arguments, "--resume", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((finished / "benchmark.json").read_text())


def test_an_unreadable_image_is_named_and_skipped_only_when_told(tree, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(tree, broken)
    image = sorted((broken / "MURA-v1.1" / "train").rglob("*.png"))[0]
    image.write_bytes(image.read_bytes()[:100])
    arguments = ["train", "--data", str(broken), "--out", str(tmp_path / "out"), *TINY[:2], *TINY[6:]]
    assert run_command(arguments) == 2
    error = capsys.readouterr().err
    assert str(image) in error
    assert "--skip-bad-images" in error
    assert run_command([*arguments, "--skip-bad-images", "--resume"]) == 0
    assert "left out 1 unreadable image(s)" in capsys.readouterr().err


def test_fit_agent_and_benchmark_work_on_the_tables_of_a_run(finished, tmp_path, capsys):
    train, test = (str(finished / "predictions" / f"{name}.npz") for name in ("train", "test"))
    agent = ["fit-agent", "best_single", "--predictions", train, "--out", str(tmp_path / "agent")]
    assert run_command([*agent, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["agent"] == "best_single"
    for weights in document["mean_weights"].values():
        assert sum(weights.values()) == pytest.approx(1)
    assert run_command(agent) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run_command([*agent, "--overwrite"]) == 0
    out = tmp_path / "benchmark"
    arguments = ["--train", train, "--test", test, "--out", str(out), "--agents", "best_single"]
    assert run_command(["benchmark", *arguments, "--agent-seeds", "1"]) == 0
    assert (out / "report.html").exists()
    shown = {name: (out / name).read_bytes() for name in ("report.html", "MODEL_CARD.md")}
    for name in shown:
        (out / name).unlink()
    assert run_command(["report", "--run", str(out)]) == 0
    assert {name: (out / name).read_bytes() for name in shown} == shown


def test_a_table_comes_back_from_csv_as_it_was(finished, tmp_path, capsys):
    table = Predictions.load(finished / "predictions" / "test.npz")
    table.to_csv(tmp_path / "table.csv")
    out = tmp_path / "table.npz"
    assert run_command(["import-predictions", str(tmp_path / "table.csv"), "--out", str(out)]) == 0
    again = Predictions.load(out)
    assert again.model_names == table.model_names
    np.testing.assert_array_equal(again.logits, table.logits)


@pytest.mark.slow  # whole runs, one after the other
@pytest.mark.usefixtures("undrawn")
def test_a_run_with_repeats_goes_on_where_it_was_interrupted(tree, finished, tmp_path, capsys):
    out = shutil.copytree(finished, tmp_path / "run")
    alone = json.loads((out / "benchmark.json").read_text())
    assert "repeats" not in alone
    more = ["run", "--data", str(tree), "--out", str(out), *TINY, "--repeats", "2", "--resume", "--json"]
    assert run_command(more) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "benchmark.json").read_text())
    second = json.loads((out / "repeats" / "2" / "benchmark.json").read_text())
    for name, row in printed["agents"].items():
        values = [each["agents"][name]["vs_uniform"]["accuracy_difference"] for each in (alone, second)]
        assert row["vs_uniform"]["over_repeats"]["values"] == values
        assert row["accuracy"] == alone["agents"][name]["accuracy"]
    assert printed["repeats"]["training_seeds"] == [0, 1]
    assert json.loads((out / "repeats" / "2" / "config.json").read_text())["training_seed"] == 1
    tables = [Predictions.load(folder / "predictions/test.npz") for folder in (out, out / "repeats" / "2")]
    assert (tables[0].study_ids == tables[1].study_ids).all()
    assert np.abs(tables[0].logits - tables[1].logits).max() > 0.01
    assert not (out / "repeats" / "2" / "image_cache").exists()
    for name in ("report.html", "MODEL_CARD.md"):
        assert "over 2 trainings of the base models" in (out / name).read_text()

    members = {path: path.stat().st_mtime_ns for path in out.rglob("members/*/*.safetensors")}
    lost = next((out / "repeats" / "2" / "members").rglob("*.safetensors"))
    lost.unlink()
    (out / "repeats" / "2" / "benchmark.json").unlink()
    assert run_command(more) == 0
    assert json.loads(capsys.readouterr().out) == printed
    assert {path for path, time in members.items() if path.stat().st_mtime_ns != time} == {lost}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--repeats", "0"], "expected repeats in the range [1, 1000], got 0"),
        (["--cross-validation-seeds", "-1"], "cross_validation_seeds in the range [0, 1000], got -1"),
        (["--agent-seeds", "0"], "agent_seeds in the range [1, 1000], got 0"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_before_the_long_work(tree, tmp_path, capsys, options, words):
    out = tmp_path / "run"
    assert run_command(["run", "--data", str(tree), "--out", str(out), *TINY, *options]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_what_is_remarkable_of_data_and_weights_is_told_before_the_training(tmp_path, monkeypatch):
    """Which class is taken as positive should not be learned after hours."""
    data, rows = tmp_path / "own", ["path,study_id,patient_id,body_part,label"]
    for number in range(60):
        save_picture(data / f"{number}.png", picture(number))
        rows.append(f"{number}.png,s{number},p{number},hand,{number % 2 + 1}")
    (data / "studies.csv").write_text("\n".join(rows))
    told = []
    monkeypatch.setattr("mura_app.pipeline.train_ensemble", lambda *_, **__: told.append("trained") or (0, 0))
    weights = str(tmp_path / "own.safetensors")
    save_file(create_model("attention_cnn", 2, 1).state_dict(), weights)
    ensemble = replace(PRESETS["demo"], members=(MemberConfig("a", init_weights=weights),))
    config = PipelineConfig(ensemble, seed=0)
    train_base_models(data, RunDirectory(tmp_path / "run"), config, tell=told.append)
    assert "'1' and '2' the greater number" in told[0]
    assert "--positive 1 says otherwise" in told[0]
    assert f"{weights} does not tell from which radiographs" in told[-2]
    assert told[-1] == "trained"
