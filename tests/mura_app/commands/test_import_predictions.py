"""`mura import-predictions`: other people's models, with any number of classes and body parts."""

import json

import numpy as np
import pytest

from mura_app.main import run_command
from mura_env import Predictions
from tests.mura_env.tables import random_table


@pytest.mark.parametrize("kind", ["logit", "probability"])
def test_a_table_of_other_models_is_imported(kind, tmp_path, capsys):
    table = random_table(20, n_models=5, n_classes=4, n_body_parts=3)
    values = table.logits if kind == "logit" else table.probabilities
    lines = [
        "model,study_id,patient_id,body_part,label," + ",".join(f"{kind}_{c}" for c in table.class_names)
    ]
    for i in range(20):
        part = table.body_part_names[table.body_parts[i]]
        study = f"{table.study_ids[i]},{table.patient_ids[i]},{part},{table.labels[i]}"
        lines += [
            f"{model},{study}," + ",".join(f"{value:.9g}" for value in values[i, m])
            for m, model in enumerate(table.model_names)
        ]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    out = tmp_path / "table.npz"
    assert run_command(["import-predictions", str(tmp_path / "table.csv"), "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["studies"], document["models"]) == (20, list(table.model_names))
    imported = Predictions.load(out)
    np.testing.assert_allclose(imported.probabilities, table.probabilities, atol=1e-6)
    np.testing.assert_array_equal(imported.labels, table.labels)
    assert imported.class_names == table.class_names


def test_a_wrong_row_is_named_and_nothing_written(tmp_path, capsys):
    (tmp_path / "bad.csv").write_text(
        "study_id,patient_id,label,model,logit_no,logit_yes\ns,p,0,m,0,1\nt,,0,m,0,1\n"
    )
    assert (
        run_command(["import-predictions", str(tmp_path / "bad.csv"), "--out", str(tmp_path / "t.npz")]) == 2
    )
    assert "row 3: expected a patient_id, got an empty cell" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_an_existing_file_or_a_folder_is_not_replaced(tmp_path, capsys):
    random_table(5).to_csv(tmp_path / "table.csv")
    command = ["import-predictions", str(tmp_path / "table.csv"), "--out", str(tmp_path / "table.npz")]
    assert run_command(command) == 0
    capsys.readouterr()
    assert run_command(command) == 2
    assert "already exists" in capsys.readouterr().err
    assert run_command([*command, "--overwrite"]) == 0
    capsys.readouterr()
    (tmp_path / "folder.npz").mkdir()
    assert run_command([*command[:-1], str(tmp_path / "folder.npz"), "--overwrite"]) == 2
    assert "expected a file to write, got the folder" in capsys.readouterr().err
