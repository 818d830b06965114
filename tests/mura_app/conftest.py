import numpy as np
import pytest
from filelock import FileLock

from base_models.synthetic import synthesize
from mura_app.report.drawing import Plot
from mura_env import Predictions


def make_table(n_studies, seed, prefix, n_parts=3):
    """A table in which another one of two members is right in each body part."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n_studies)
    body_parts = generator.integers(0, n_parts, n_studies)
    experts = body_parts % 2
    right = generator.random((n_studies, 2)) < np.where(experts[:, None] == np.arange(2), 0.92, 0.6)
    votes = np.where(right, labels[:, None], 1 - labels[:, None])
    margin = generator.uniform(0.5, 1.5, (n_studies, 2)) * np.where(votes == 1, 1, -1)
    logits = np.stack([-margin / 2, margin / 2], axis=2).astype(np.float32)
    return Predictions.from_arrays(
        logits,
        labels,
        body_parts,
        study_ids=[f"{prefix}-{index}" for index in range(n_studies)],
        patient_ids=[f"{prefix}-{index // 2}" for index in range(n_studies)],
        model_names=("coarse", "fine"),
        class_names=("normal", "abnormal"),
        body_part_names=tuple(f"PART{index}" for index in range(n_parts)),
    )


@pytest.fixture(scope="session")
def tables():
    return make_table(400, 0, "train"), make_table(300, 1, "test")


@pytest.fixture(scope="module")
def undrawn():
    """Write pages without figures, most of what a page costs: `report` and the first run of all have them."""

    def empty(drawing, name, _description):
        plot = Plot("<svg></svg>")
        plot.name, plot.drawing = name, drawing
        return plot

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mura_app.report.figures.to_svg", empty)
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory, worker_id):
    """A folder that the processes of `make test` share: what one has made in it, the others find."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def tree(shared_folder):
    tree = shared_folder / "radiographs" / "tree"
    with FileLock(shared_folder / "radiographs.lock"):
        if not tree.exists():
            synthesize(tree, n_patients=60, seed=3)
    return tree
