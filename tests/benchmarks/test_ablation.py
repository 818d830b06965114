import json
from pathlib import Path

import numpy as np
import pytest

from agents.metrics import auroc_within, evaluate
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.synthetic import synthesize
from mura_env import Predictions


def test_steps_keep_the_changes_before_them_and_are_scored_out_of_fold(
    benchmark_script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = benchmark_script("ablation")
    monkeypatch.setattr(script, "N_RESAMPLES", 100)
    net = {"blocks": 1, "width": 4, "dropout": 0.0}
    first = EnsembleConfig(
        (MemberConfig("cnn", image_size=16, epochs=1, options=net),),
        TrainingConfig(batch_size=8, box_loss=0.0),
        folds=2,
        jobs=1,
    )
    changes = script.steps(24)
    changes.pop("ImageNet's weights")  # an attention CNN has none
    monkeypatch.setattr(script, "steps", lambda size: changes)
    synthesize(tmp_path / "tree", 30, seed=0)
    document = script.run(tmp_path / "tree", tmp_path / "out", first, 24, lambda *_: None)
    assert list(document["steps"]) == list(changes)
    folders = sorted((tmp_path / "out").glob("[0-9]-*"))
    configs = [json.loads((folder / "training.json").read_text())["config"] for folder in folders]
    assert [config["members"][0]["image_size"] for config in configs] == [16, 24, 24, 24, 24]
    assert [config["crop"] for config in configs] == [False, False, True, True, True]
    assert [config["training"]["box_loss"] for config in configs] == [0, 0, 0, 1, 1]
    assert [len(config["members"]) for config in configs] == [1, 1, 1, 1, 2]
    table = Predictions.load(folders[-1] / "predictions" / "train.npz")
    mean = table.probabilities.mean(axis=1).astype(np.float64)
    row = document["steps"]["with a specialist"]
    assert row["auroc"]["mean"] == pytest.approx(evaluate(table.labels, mean)["auroc"])
    within = auroc_within(table.labels, mean, table.body_parts)
    assert row["auroc_within_body_parts"]["mean"] == pytest.approx(within)
    first_verdicts, second_verdicts = table.logits.argmax(axis=2).T
    assert row["contested"] == pytest.approx((first_verdicts != second_verdicts).mean())
    assert capsys.readouterr().out.count("\n") == 5
