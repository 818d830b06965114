import json
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.metrics import accuracy_score, cohen_kappa_score, roc_auc_score

from agents.metrics import auroc_within
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.training.fit import run_fit
from mura_app.pipeline import PipelineConfig, train_base_models
from mura_app.run_directory import RunDirectory
from mura_env import Predictions
from tests.base_models.trees import write_mura

NET = {"blocks": 1, "width": 4, "dropout": 0.0}
ENSEMBLE = EnsembleConfig(
    members=(
        MemberConfig("small", image_size=16, epochs=2, options=NET),
        MemberConfig("large", image_size=32, epochs=1, options=NET),
    ),
    training=TrainingConfig(batch_size=8, inner_validation=0.3),
    folds=2,
    jobs=1,
    drop_below=0.5,
)


@pytest.fixture(scope="module")
def script(benchmark_script):
    module = benchmark_script("compare_with_one_network")
    module.N_RESAMPLES = 200
    return module


def _compare(script, folder: Path) -> list[tuple[str, int, int]]:
    """Compare, and return the network, size and epochs of each fit that was begun for it."""
    begun = []

    def counted(job, *arguments):
        begun.append((job.member.network, job.member.image_size, job.member.epochs))
        return run_fit(job, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("base_models.training.fit_pool.run_fit", counted)
        # the ensemble took five seconds, its strongest member two of them
        patch.setattr(script, "fit_seconds", lambda run, clock, member="": 2.0 if member else 5.0)
        script.compare(folder / "run", folder / "out", lambda *_: None)
    return begun


@pytest.fixture(scope="module")
def begun() -> list[tuple[str, int, int]]:
    """The fits of the comparison in `folder`."""
    return []


@pytest.fixture(scope="module")
def folder(script, begun: list, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of two tiny members on synthetic pictures, and a comparison with it."""
    folder = tmp_path_factory.mktemp("compared")
    data = write_mura(folder / "data", {"train": 10, "valid": 12})
    config = PipelineConfig(ENSEMBLE, seed=3)
    train_base_models(data, RunDirectory(folder / "run"), config)
    begun += _compare(script, folder)
    return folder


def test_the_strongest_member_is_trained_longer_on_the_same_folds(script, folder: Path, begun: list) -> None:
    train = Predictions.load(folder / "run" / "predictions" / "train.npz")
    areas = [roc_auc_score(train.labels, train.probabilities[:, index, 1]) for index in (0, 1)]
    strongest = ENSEMBLE.members[int(np.argmax(areas))]
    assert ENSEMBLE.members[script.strongest_member(train)] == strongest
    epochs = round(2.5 * strongest.epochs)
    assert begun == [("attention_cnn", strongest.image_size, epochs)] * 2
    records = [
        json.loads((folder / name / "training.json").read_text()) for name in ("run", "out/same-seconds")
    ]
    assert records[0]["folds"] == records[1]["folds"]
    assert records[0]["config"]["training"] == records[1]["config"]["training"]
    weights = sorted((folder / "out").glob("*/members/*/*.safetensors"))
    before = [file.read_bytes() for file in weights]
    assert _compare(script, folder) == []
    (folder / "out" / "same-seconds" / "training.json").unlink()  # as if it had been killed before its end
    weights[-1].unlink()
    assert _compare(script, folder) == begun
    tensors = [safetensors.torch.load(data) for data in (before[-1], weights[-1].read_bytes())]
    assert all(torch.equal(value, tensors[1][name]) for name, value in tensors[0].items())
    assert [file.read_bytes() for file in weights[:-1]] == before[:-1]


def test_predictors_are_what_the_tables_say(script, folder: Path) -> None:
    document = json.loads((folder / "out" / "comparison.json").read_text())
    average, *others = document["predictors"]
    assert [average, *others] == [
        "uniform average of 2 members",
        script.AS_IT_IS,
        script.SAME_SECONDS,
        "metadata only",
    ]
    assert list(document["ensemble_minus"]) == others[:2]
    assert (folder / "out" / "comparison.md").read_text() == script.markdown(document)
    for prefix, n_models in (("", 2), ("metadata-", 1)):
        predictor = script.read_predictor(RunDirectory(folder / "run"), prefix)
        for split, probabilities in (("train", predictor.train), ("test", predictor.test)):
            logits = Predictions.load(folder / "run" / "predictions" / f"{prefix}{split}.npz").logits
            odds = np.exp(logits.astype(np.float64))
            by_hand = sum(odds[:, k] / odds[:, k].sum(axis=1, keepdims=True) for k in range(n_models))
            np.testing.assert_allclose(probabilities, by_hand / n_models, rtol=1e-6)


def _informative(labels: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """Probabilities (n_studies, 2) that tell something of the labels, and are too low."""
    evidence = np.random.default_rng(seed).normal(strength * (labels - 0.5) - 0.7)
    positive = 1 / (1 + np.exp(-evidence))
    return np.stack([1 - positive, positive], axis=1)


def test_the_figures_are_those_of_another_library(script) -> None:
    rng = np.random.default_rng(1)
    of_train, of_test = rng.integers(0, 2, 150), rng.integers(0, 2, 90)
    test = Predictions.from_arrays(
        np.zeros((90, 1, 2)),
        of_test,
        np.arange(90) % 3,
        patient_ids=np.array([f"p{i // 2}" for i in range(90)]),
    )
    names = ("average", script.AS_IT_IS, script.SAME_SECONDS, "metadata only")
    predictors = {
        name: script.Predictor(_informative(of_train, strength, k), _informative(of_test, strength, 10 + k))
        for k, (name, strength) in enumerate(zip(names, (3.0, 0.5, 2.8, 1.0), strict=True))
    }
    document = script.score(test, of_train, predictors)
    found: dict[str, dict[str, float]] = {}
    for name, predictor in predictors.items():
        row, positive = document["predictors"][name], predictor.test[:, 1]
        found[name] = {
            "AUROC": roc_auc_score(of_test, positive),
            "AUROC within body parts": auroc_within(of_test, predictor.test, test.body_parts),
        }
        for key, threshold in row["thresholds"].items():
            found[name][f"accuracy at {key}"] = accuracy_score(of_test, positive > threshold)
            found[name][f"kappa at {key}"] = cohen_kappa_score(of_test, positive > threshold)
        assert {figure: value["mean"] for figure, value in row["figures"].items()} == pytest.approx(
            found[name]
        )
        assert all(value["ci95"][0] < value["mean"] < value["ci95"][1] for value in row["figures"].values())
        assert row["thresholds"]["0.5"] == 0.5
        best = row["thresholds"]["threshold of most kappa"]
        kappas = [
            cohen_kappa_score(of_train, predictor.train[:, 1] > t) for t in (best, *predictor.train[:, 1])
        ]
        assert kappas[0] == max(kappas)
    for name, differences in document["ensemble_minus"].items():
        for figure, difference in differences.items():
            expected = found["average"][figure] - found[name][figure]
            assert difference["mean"] == pytest.approx(expected)
            assert difference["ci95"][0] < expected < difference["ci95"][1]
    verdicts = [
        {difference["verdict"] for difference in document["ensemble_minus"][name].values()}
        for name in (script.AS_IT_IS, script.SAME_SECONDS)
    ]
    assert "better" in verdicts[0]
    assert verdicts[1] == {"not significant"}


def test_a_difference_is_shown_where_interval_and_test_agree(script) -> None:
    kappa, auroc = {"mean": -0.2, "ci95": [-0.3, -0.1]}, {"mean": None, "ci95": None}
    found = {"accuracy_difference": 0.1, "ci95": [0.05, 0.15], "permutation_p": 0.01, "delong": None}
    for p, verdict in ((0.01, "better"), (0.06, "not significant")):
        figures = script._differences(
            {**found, "permutation_p": p, "kappa_difference": kappa, "auroc_difference": auroc}, "0.5"
        )
        assert [figure["verdict"] for figure in figures.values()] == ["not significant", verdict, "worse"]


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 0.99])
def test_moving_a_threshold_to_a_half_keeps_verdicts_and_order(script, threshold: float) -> None:
    positive = np.random.default_rng(0).uniform(0, 1, 200)
    moved = script.threshold_at_half(np.stack([1 - positive, positive], axis=1), threshold)
    np.testing.assert_allclose(moved.sum(axis=1), 1)
    np.testing.assert_array_equal(moved.argmax(axis=1), positive > threshold)
    np.testing.assert_array_equal(np.argsort(moved[:, 1]), np.argsort(positive))


def test_what_is_no_run_is_refused_in_one_line(script, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        sys, "argv", ["compare_with_one_network.py", "--run", str(tmp_path), "--out", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected a run directory" in line
    (tmp_path / "config.json").write_text(json.dumps({"format_version": 1, "versions": {}}))
    with pytest.raises(ValueError, match="expected a run of `mura train`"):
        script.compare(tmp_path, tmp_path / "out", lambda *_: None)
