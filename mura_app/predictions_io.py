"""Reading the predictions tables that the command line is given."""

from pathlib import Path

from mura_env import Predictions
from mura_env.utils.files import regular_file


def load_table(path: Path) -> Predictions:
    """Read a predictions table from `.npz` or, in long form, from `.csv`."""
    regular_file(path, "a predictions table (.npz or .csv)")
    if path.suffix == ".csv":
        return Predictions.from_csv(path)
    return Predictions.load(path)
