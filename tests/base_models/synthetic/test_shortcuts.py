"""Nothing but looking helps: thumbnails and metadata do not give the label away."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from base_models.synthetic import CASES, draw_study

FloatArray = npt.NDArray[np.float64]
N_STUDIES = 800


class Drawn:
    """Features of many studies, one row per view; the second half is held out."""

    def __init__(self) -> None:
        rng = np.random.default_rng(11)
        parts = list(CASES)
        thumbnails, metadata, one_hot, study = [], [], [], []
        self.parts = rng.choice(len(parts), N_STUDIES)
        self.labels = np.zeros(N_STUDIES, int)
        for number, part in enumerate(self.parts):
            drawn = draw_study(parts[part], np.random.SeedSequence(5, spawn_key=(number,)))
            self.labels[number] = drawn.label
            for image in drawn.images:
                height, width = image.shape
                rows, columns = np.arange(8) * height // 8, np.arange(8) * width // 8
                sums = np.add.reduceat(np.add.reduceat(image.astype(float), rows, axis=0), columns, axis=1)
                thumbnails.append(sums.ravel() / (height * width / 64))
                metadata.append((height, width, width / height, len(drawn.images), image.mean(), image.std()))
                one_hot.append(np.eye(len(parts))[part])
                study.append(number)
        self.study = np.array(study)
        self.part_of_view = np.array(one_hot)
        self.thumbnails = np.array(thumbnails)
        self.metadata = np.array(metadata)

    def scores(self, features: FloatArray) -> FloatArray:
        """Fit on the views of the first half, return the mean log-odds of every study of the second half."""
        train = self.study < N_STUDIES // 2
        scaler = StandardScaler().fit(features[train])
        model = LogisticRegression(C=0.05, max_iter=2000)
        model.fit(scaler.transform(features[train]), self.labels[self.study[train]])
        odds = model.decision_function(scaler.transform(features))
        mean = np.bincount(self.study, odds) / np.bincount(self.study)
        held_out: FloatArray = mean[N_STUDIES // 2 :]
        return held_out


pytestmark = pytest.mark.slow  # some thousand studies are drawn


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn()


def test_thumbnails_do_not_give_the_label_away(drawn: Drawn) -> None:
    scores = drawn.scores(np.hstack([drawn.thumbnails, drawn.part_of_view]))
    assert roc_auc_score(drawn.labels[N_STUDIES // 2 :], scores) < 0.65


def test_metadata_do_not_give_the_label_away_within_a_part(drawn: Drawn) -> None:
    products = (drawn.metadata[:, :, None] * drawn.part_of_view[:, None, :]).reshape(len(drawn.metadata), -1)
    scores = drawn.scores(np.hstack([products, drawn.part_of_view]))
    labels, parts = drawn.labels[N_STUDIES // 2 :], drawn.parts[N_STUDIES // 2 :]
    within = [roc_auc_score(labels[parts == part], scores[parts == part]) for part in range(len(CASES))]
    assert abs(float(np.mean(within)) - 0.5) < 0.06


def test_prevalence_is_that_of_the_part(drawn: Drawn) -> None:
    for part, cases in enumerate(CASES.values()):
        labels = drawn.labels[drawn.parts == part]
        assert abs(labels.mean() - cases.prevalence) < 4 * np.sqrt(0.25 / len(labels))
