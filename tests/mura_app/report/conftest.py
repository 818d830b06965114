import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from agents.benchmark import run_benchmark
from mura_app.repeats import with_repeats
from mura_app.report.page import render_page
from mura_app.report.sections import shown_changes
from mura_env import Predictions

TITLE = "Two experts <test>"
TRAINING = {
    "dataset": {"name": "MURA", "root": "/somewhere/private", "remarks": ["Patients are a proxy."]},
    "counts": {
        "train": {
            "studies": 400,
            "images": 900,
            "patients": 200,
            "classes": {"normal": 250, "abnormal": 150},
        },
        "test": {"studies": 300, "images": 700, "patients": 150, "classes": {"normal": 200, "abnormal": 100}},
    },
    "skipped_images": {"a.png": "truncated"},
    "config": {
        "members": [
            {
                "name": name,
                "network": "attention_cnn",
                "image_size": size,
                "epochs": 9,
                "options": {"blocks": 2},
            }
            for name, size in (("coarse", 32), ("fine", 64))
        ],
        "folds": 3,
    },
}


@pytest.fixture(scope="session")
def single_training(tables):
    """A benchmark with everything that a page can show, of one set of base models."""
    agents = {
        "best_single": {},
        "reinforce": {"total_steps": 4_000},
        "static_per_body_part": {},
        "stacking": {},
    }
    train, test = tables
    test = replace(test, n_views=np.resize([1, 2, 1], len(test)))
    study = np.repeat(np.arange(len(test)), test.n_views)
    images = Predictions.from_arrays(
        test.logits[study] * np.random.default_rng(2).uniform(0.5, 1.5, (len(study), 1, 1)),
        test.labels[study],
        test.body_parts[study],
        patient_ids=test.patient_ids[study],
        model_names=test.model_names,
        class_names=test.class_names,
        body_part_names=test.body_part_names,
    )
    return run_benchmark(train, test, agents, seeds=(0, 1), n_jobs=1, n_resamples=200, test_images=images)


@pytest.fixture(scope="session")
def document(single_training):
    other = json.loads(json.dumps(single_training))
    other["agents"]["reinforce"]["vs_uniform"]["accuracy_difference"] -= 0.02
    return with_repeats(single_training, [other], [0, 1])


@pytest.fixture(scope="session")
def thumbnails(document):
    buffer = io.BytesIO()
    Image.new("L", (96, 96), 80).save(buffer, format="JPEG")
    address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return dict.fromkeys(sorted(shown_changes(document))[::2], address)


@pytest.fixture(scope="session")
def page(document, thumbnails):
    return render_page(document, title=TITLE, settings={"seed": 0}, thumbnails=thumbnails)
