import json
from dataclasses import replace

import numpy as np
import pytest

from agents.benchmark.fits import AgentResult
from agents.benchmark.image_level import check_images, image_level_document
from mura_env import Predictions
from tests.agents.tables import switching_table

GENERATOR = np.random.default_rng(3)
STUDIES = replace(switching_table(120, 0, n_parts=3), n_views=GENERATOR.integers(1, 4, 120))
STUDY = np.repeat(np.arange(120), STUDIES.n_views)
IMAGES = Predictions.from_arrays(
    STUDIES.logits[STUDY] + GENERATOR.normal(size=(len(STUDY), 3, 2)),
    STUDIES.labels[STUDY],
    STUDIES.body_parts[STUDY],
    patient_ids=STUDIES.patient_ids[STUDY],
    body_part_names=STUDIES.body_part_names,
)
WEIGHTS = GENERATOR.dirichlet([1, 1, 1], (2, 120)).astype(np.float32)
CONTROLS = {"first": STUDIES.probabilities[:, 0]}
UNIFORM = np.full((1, 120, 3), 1 / 3, dtype=np.float32)


def level(**weights):
    results = {
        name: AgentResult(np.empty(0), chosen, [0], [], is_weighting=name != "stacked")
        for name, chosen in {"uniform": UNIFORM, **weights}.items()
    }
    return image_level_document(STUDIES, IMAGES, results, CONTROLS, {"learned": 0.4}, n_resamples=100)


def test_each_radiograph_gets_the_weights_of_its_study():
    document = level(learned=WEIGHTS, stacked=WEIGHTS)
    assert document["n_images"] == len(STUDY) > 120
    right = np.zeros((2, len(STUDY)))
    image = 0
    for study in range(120):
        for _ in range(STUDIES.n_views[study]):
            logits = IMAGES.logits[image].astype(np.float64)
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            for seed in range(2):
                verdict = (WEIGHTS[seed, study] @ probabilities).argmax()
                right[seed, image] = verdict == STUDIES.labels[study]
            image += 1
    row = document["agents"]["learned"]
    assert row["accuracy"]["mean"] == pytest.approx(right.mean())
    assert row["accuracy"]["ci95"][0] < right.mean() < row["accuracy"]["ci95"][1]
    assert row["threshold"]["mean"] == pytest.approx(0.4)
    assert row["n_studies"] == len(STUDY)
    assert set(document["models"]) == set(STUDIES.model_names)
    assert list(document["left_out"]) == ["stacked"]
    of_study = STUDIES.probabilities[:, 0].argmax(axis=1) == STUDIES.labels
    control = document["controls"]["first"]["accuracy"]["mean"]
    assert control == pytest.approx(of_study[STUDY].mean())
    assert document["agents"]["uniform"]["vs_uniform"]["accuracy_difference"] == 0
    json.dumps(document, allow_nan=False)


def test_one_radiograph_a_study_needs_no_figures_of_its_own():
    single = replace(STUDIES, n_views=np.ones(120, dtype=np.int64))
    document = image_level_document(single, STUDIES, {}, {}, {}, n_resamples=10)
    assert list(document) == ["reason"]


def test_radiographs_of_other_studies_are_refused():
    check_images(STUDIES, IMAGES)
    with pytest.raises(ValueError, match=r"expected the \d+ radiographs of the 120 studies in their order"):
        check_images(STUDIES, IMAGES.select(np.arange(len(STUDY))[::-1]))
    with pytest.raises(ValueError, match="radiographs of the 120 studies"):
        check_images(STUDIES, IMAGES.select(np.arange(100)))
    with pytest.raises(ValueError, match="with the model_names of the studies"):
        check_images(STUDIES, replace(IMAGES, model_names=("a", "b", "c")))
