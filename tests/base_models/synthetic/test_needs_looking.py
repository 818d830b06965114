"""A network that looks finds what thumbnails and metadata do not show."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from base_models.config import MemberConfig, TrainingConfig
from base_models.cross_fitting import views_of
from base_models.data.image_cache import open_image_cache
from base_models.datasets import open_dataset
from base_models.imaging.decoding import SquareFormat, fit_into_square
from base_models.members import seeded_network
from base_models.prediction import study_logits, view_logits
from base_models.presets import PRESETS
from base_models.synthetic import draw_study, synthesize
from base_models.training.fit import FitJob, run_fit
from base_models.training.trainer import fit_network
from base_models.training.validation import FoldImages
from mura_app.commands.demo import TEST_SHARE, Command


@pytest.mark.slow
def test_a_small_network_reads_unseen_studies() -> None:
    """Of parts of which 24 by 24 pixels show enough; `test_shortcuts.py` has what 8 by 8 show."""
    parts, n_train, n_test, side = ("FOREARM", "HUMERUS", "SHOULDER"), 260, 200, 24
    squares, study, labels = [], [], []
    for number in range(n_train + n_test):
        drawn = draw_study(parts[number % 3], np.random.SeedSequence(5, spawn_key=(number,)))
        labels.append(drawn.label)
        squares += [fit_into_square(image, side) for image in drawn.images]
        study += [number] * len(drawn.images)
    images, of_study, truth = np.stack(squares), np.array(study), np.array(labels)
    shown, test = np.flatnonzero(of_study < n_train), np.flatnonzero(of_study >= n_train)
    member = MemberConfig("a", image_size=side, epochs=14, options={"blocks": 2, "width": 8, "dropout": 0.0})
    network = seeded_network(member, 2, 0)
    fit_network(
        network,
        images,
        rows=shown,
        labels=truth[of_study[shown]],
        weights=np.ones(len(shown), np.float32),
        member=member,
        training=TrainingConfig(batch_size=16, learning_rate=3e-3, augmentation="flips"),
        seed=0,
    )
    logits = study_logits(view_logits(network, images, test, side), of_study[test] - n_train, n_test)
    # 0.79; its standard error is 0.03, and kinds of CPU round differently
    assert roc_auc_score(truth[n_train:], logits[:, 1] - logits[:, 0]) >= 0.72


@pytest.mark.slow
def test_one_attention_cnn_of_the_demo_reads_unseen_patients(tmp_path: Path) -> None:
    """One fit of the demo: a member at its size, epochs and number of training studies."""
    demo = PRESETS["demo"]
    member = demo.members[-1]
    synthesize(tmp_path / "tree", n_patients=Command().patients, seed=1, valid_fraction=TEST_SHARE)
    dataset = open_dataset(tmp_path / "tree")
    train, test = dataset.of_split("train"), dataset.of_split("test")
    of_one_fit = train[:: demo.folds]
    assert not {study.patient_id for study in of_one_fit} & {study.patient_id for study in test}
    paths = [path for study in (*of_one_fit, *test) for path in study.image_paths]
    cache = open_image_cache(paths, SquareFormat(member.image_size), tmp_path / "cache")
    views, test_views = views_of(of_one_fit, cache), views_of(test, cache)
    labels = np.array([study.label for study in of_one_fit])
    parts = np.array([dataset.body_part_names.index(study.body_part) for study in of_one_fit])
    job = FitJob(
        member=member,
        training=demo.training,
        fold=0,
        seed=0,
        n_classes=2,
        images=cache.file,
        pixels=cache.digest,
        train=FoldImages(views.rows, labels[views.study], parts[views.study], None),
        predict_rows=test_views.rows,
        weights=tmp_path / "fold0.safetensors",
    )
    logits = study_logits(run_fit(job).logits, test_views.study, len(test))
    # 0.85 and 0.849 on two kinds of CPU, whose bf16 rounds differently; its standard error is 0.02
    assert roc_auc_score([study.label for study in test], logits[:, 1] - logits[:, 0]) >= 0.83
