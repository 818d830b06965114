from pathlib import Path

import numpy as np
import pytest

from base_models.data.hard_examples import refuse_other_split, study_repeats
from base_models.datasets.study import Study
from mura_env import Predictions


def _run(folder: Path, wrong: list[bool], prefix: str = "s") -> Path:
    labels = np.arange(len(wrong)) % 2
    shown = np.where(wrong, 1 - labels, labels)
    # the second member contradicts the first, less surely: the ensemble says what the first says
    logits = np.stack([3.0 * np.eye(2)[shown], 1.0 * np.eye(2)[1 - shown]], axis=1)
    table = Predictions.from_arrays(
        logits.astype(np.float32), labels, study_ids=np.array([f"{prefix}{i}" for i in range(len(wrong))])
    )
    (folder / "predictions").mkdir(parents=True)
    table.save(folder / "predictions" / "train.npz")
    return folder


def test_studies_that_the_ensemble_got_wrong_are_repeated(tmp_path: Path) -> None:
    run = _run(tmp_path, [False, True, True, False, True])
    studies = [Study(f"s{i}", f"p{i}", "hand", 0, "train", (Path("a.png"),)) for i in (4, 3, 1, 99)]
    assert study_repeats(studies, run, 3).tolist() == [3, 1, 3, 1]


def test_a_folder_without_these_studies_is_refused(tmp_path: Path) -> None:
    studies = [Study("s0", "p0", "hand", 0, "train", (Path("a.png"),))]
    with pytest.raises(FileNotFoundError, match="expected an earlier run with its out-of-fold predictions"):
        study_repeats(studies, tmp_path / "none", 2)
    with pytest.raises(ValueError, match="one that knows none of them"):
        study_repeats(studies, _run(tmp_path / "other", [True, False], prefix="other"), 2)


def test_a_run_that_learned_from_present_test_studies_is_refused(tmp_path: Path) -> None:
    run = _run(tmp_path, [False, True, True])

    def test_studies(*names: str) -> list[Study]:
        return [Study(name, f"p{name}", "hand", 0, "test", (Path("a.png"),)) for name in names]

    refuse_other_split(test_studies("s3", "other"), run)
    with pytest.raises(ValueError, match="learned from 2 of the present ones, first 's1'"):
        refuse_other_split(test_studies("s3", "s1", "s0"), run)
    with pytest.raises(FileNotFoundError, match="expected an earlier run with its out-of-fold predictions"):
        refuse_other_split(test_studies("s3"), tmp_path / "none")
