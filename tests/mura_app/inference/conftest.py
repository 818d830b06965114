import pytest
from filelock import FileLock

from mura_app import Ensemble
from mura_app.main import run_command

TINY = [
    *("--preset", "demo", "--ensemble.folds", "2", "--ensemble.training.batch-size", "16"),
    *("--members", "attention_cnn:1:16:1,resnet18:1:32:1", "--ensemble.tta-flip", "--ensemble.crop"),
    *("--ensemble.part-bias-std", "0.5", "--agent-seeds", "1", "--cross-validation-seeds", "1"),
    *("--agents", "static_per_body_part", "reinforce", "--agent", "reinforce.total_steps=2000"),
]


@pytest.fixture(scope="session")
def run(tree, shared_folder):
    """A whole run on a few synthetic studies: two members that flip and crop, two folds, two agents."""
    out = shared_folder / "inference" / "run"
    with FileLock(shared_folder / "inference.lock"):
        if not (out / "benchmark.json").exists():
            assert run_command(["run", "--data", str(tree), "--out", str(out), *TINY]) == 0
    return out


@pytest.fixture(scope="session")
def ensemble(run):
    return Ensemble.load(run, "static_per_body_part")
