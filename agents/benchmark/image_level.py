"""Figures of single radiographs, beside those of studies: each gets the weights of its study."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import combine_probabilities
from agents.benchmark.fits import AgentResult
from agents.benchmark.schema import Count, Document, Row
from agents.benchmark.scoring import ScoredTable
from agents.registry import BASELINE
from mura_env import Predictions
from mura_env.errors import UserError

MOST_RESAMPLES = 1_000
"""Resamples of the patient bootstrap; there are more radiographs than studies, and studies come first."""

NO_WEIGHTING = "it is no weighting of the members, so that it has nothing to say of a single radiograph"


class Images(Document):
    """Figures of single radiographs."""

    n_images: Count
    agents: dict[str, Row]
    models: dict[str, Row]
    controls: dict[str, Row]
    left_out: dict[str, str]
    """Agent → why it has no row."""


def image_level_document(
    test: Predictions,
    images: Predictions | None,
    results: Mapping[str, AgentResult],
    controls: Mapping[str, NDArray[Any]],
    thresholds: Mapping[str, float | None],
    *,
    n_resamples: int,
) -> dict[str, Any]:
    """Score every radiograph of the test studies with the label of its study.

    Args:
        test: The studies.
        images: Members' outputs on each radiograph, as `check_images` wants them.
        results: By agent; bounds have no row.
        controls: Class probabilities of the studies by name, shape `(n_studies, n_classes)`; each radiograph
            has those of its study.
        thresholds: By agent, on the probability of class 1.
        n_resamples: Resamples of the patient bootstrap, of which `MOST_RESAMPLES` are used at most.

    Returns:
        See `Images` (`holm_p` is None: the primary comparison is of studies), or a `reason` alone, where
        there are no radiographs or every study has one.
    """
    if images is None:
        return {"reason": "the tables hold studies only, not their radiographs"}
    if (test.n_views == 1).all():
        return {"reason": "every study has one radiograph: its figures are those of the study"}
    study = np.repeat(np.arange(len(test)), test.n_views)
    shown = {name: result for name, result in results.items() if not result.is_bound}
    probabilities = {
        name: np.stack(
            [combine_probabilities(images.probabilities, weights[study]) for weights in result.weights]
        )
        for name, result in shown.items()
        if result.is_weighting
    }
    table = ScoredTable(images, min(n_resamples, MOST_RESAMPLES), probabilities[BASELINE])
    return {
        "n_images": len(images),
        "agents": {
            name: table.row(of_agent, thresholds.get(name), is_baseline=name == BASELINE)
            for name, of_agent in probabilities.items()
        },
        "models": {
            name: table.row(images.probabilities[None, :, index])
            for index, name in enumerate(images.model_names)
        },
        "controls": {name: table.row(of_study[study][None]) for name, of_study in controls.items()},
        "left_out": {name: NO_WEIGHTING for name, result in shown.items() if not result.is_weighting},
    }


def check_images(test: Predictions, images: Predictions) -> None:
    """Make sure that a table of radiographs is that of a table of studies.

    Raises:
        ValueError: If it has other members or classes, or not `n_views` rows of each study, in order.
    """
    for what in ("model_names", "class_names", "body_part_names"):
        if tuple(getattr(test, what)) != tuple(getattr(images, what)):
            raise UserError(
                f"expected radiographs with the {what} of the studies, {getattr(test, what)}, got "
                f"{getattr(images, what)}"
            )
    fits = len(images) == test.n_views.sum() and all(
        np.array_equal(getattr(images, column), np.repeat(getattr(test, column), test.n_views))
        for column in ("patient_ids", "labels", "body_parts")
    )
    if not fits:
        raise UserError(
            f"expected the {test.n_views.sum()} radiographs of the {len(test)} studies in their order, got a "
            f"table of {len(images)} others; write both tables in one run"
        )
