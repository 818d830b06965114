"""Studies that were hard out of fold in an earlier run, to be seen more often in a new one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.datasets.study import Study
from mura_env import Predictions
from mura_env.errors import UserError, UserFileNotFoundError


def study_repeats(studies: Sequence[Study], run_dir: str | Path, times: int) -> NDArray[np.int64]:
    """Return how often an epoch shows each of n_studies training studies: hard ones `times`, others once.

    A study is hard if the mean of the members' out-of-fold probabilities was highest for another class. Only
    the earlier run's training table is read, and only training studies are repeated: its test table, and
    studies that it did not have, play no part. The networks that judged a study had learned from all other
    folds, so which studies of a training fold are hard depends, weakly, on labels of the fold that is held
    out.

    Raises:
        UserFileNotFoundError: If the folder holds no finished run.
        UserError: If the run knows none of the studies.
    """
    table = _out_of_fold_table(run_dir)
    wrong = table.probabilities.mean(axis=1).argmax(axis=1) != table.labels
    hard = dict(zip(table.study_ids.tolist(), wrong.tolist(), strict=True))
    if not hard.keys() & {study.study_id for study in studies}:
        raise UserError(
            f"expected an earlier run on these studies, got one that knows none of them in {run_dir}; name a "
            "run on the same data"
        )
    return np.array([times if hard.get(study.study_id, False) else 1 for study in studies], dtype=np.int64)


def refuse_other_split(test: Sequence[Study], run_dir: str | Path) -> None:
    """Refuse an earlier run that learned from studies that are test studies now.

    Its networks knew their labels when they judged the training studies.
    """
    learned = set(_out_of_fold_table(run_dir).study_ids.tolist())
    shared = [study.study_id for study in test if study.study_id in learned]
    if shared:
        raise UserError(
            f"expected an earlier run with the same test studies, got {run_dir}, which learned from "
            f"{len(shared)} of the present ones, first {shared[0]!r}; name a run with the same split of the "
            "data, which --seed draws where the data set has none"
        )


def _out_of_fold_table(run_dir: str | Path) -> Predictions:
    """Load the earlier run's training table; errors as above."""
    path = Path(run_dir) / "predictions" / "train.npz"
    if not path.is_file():
        raise UserFileNotFoundError(
            f"expected an earlier run with its out-of-fold predictions, got no file {path}; name the folder "
            "of a finished run"
        )
    return Predictions.load(path)
