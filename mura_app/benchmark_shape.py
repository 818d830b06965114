"""The shape of `benchmark.json`, as far as reports and evaluations read it; see `mura_app.document_shape`."""

from collections.abc import Mapping
from typing import Any

from agents.metrics import FIGURES
from mura_app.document_shape import COUNT, FLAG, NUMBER, SHARE, TEXT, ByName, ListOf, Maybe, OrReason, Shape

_ENDS = ListOf(NUMBER, length=2)
_FIGURE = {"mean": Maybe(NUMBER), "ci95": Maybe(_ENDS)}
_SPREAD = {"mean": NUMBER, "seed_spread": NUMBER}
_COMPARISON = {
    "accuracy_difference": NUMBER,
    "ci95": _ENDS,
    "permutation_p": SHARE,
    "holm_p": Maybe(SHARE),
    "mcnemar_p": Maybe(SHARE),
    "mcnemar_mid_p": Maybe(SHARE),
    "delong": Maybe({"p": SHARE}),
    **dict.fromkeys(("kappa_difference", "auroc_difference"), Maybe(_FIGURE)),
    **dict.fromkeys(("standard_error", "seed_spread", "smallest_detectable_difference"), Maybe(NUMBER)),
    "over_repeats": Maybe({"values": ListOf(NUMBER, least=1), "mean": NUMBER, "spread": NUMBER}),
}
_MAIN = dict.fromkeys(("accuracy", "kappa", "auroc"), _FIGURE)
_CURVE = {"steps": ListOf(NUMBER), "accuracy": {"mean": ListOf(NUMBER), "seed_spread": ListOf(NUMBER)}}
_CURVES = {
    "roc": Maybe({"false_positive_rate": ListOf(NUMBER), "true_positive_rate": ListOf(NUMBER)}),
    "reliability": {"predicted": ListOf(NUMBER), "observed": ListOf(NUMBER), "n": ListOf(NUMBER)},
}


def benchmark_shape(document: Mapping[str, Any]) -> Shape:
    """Return the shape that a benchmark of these models and body parts must have.

    Args:
        document: The benchmark, with a `protocol` of the shape `PROTOCOL`.
    """
    protocol = document["protocol"]
    parts, n_models = tuple(protocol["body_part_names"]), len(protocol["model_names"])
    weights = {"mean": ListOf(NUMBER, length=n_models), "seed_spread": ListOf(NUMBER, length=n_models)}
    figures = {**{name: Maybe(_FIGURE) for name in FIGURES}, **_MAIN}
    part = {**figures, "n_studies": COUNT, "weights": Maybe(weights), "reason": Maybe(TEXT)}
    row = {
        **figures,
        "auroc_within_body_parts": Maybe(_FIGURE),
        "vs_uniform": _COMPARISON,
        "per_body_part": ByName(part, needed=parts),
        "macro": Maybe(_MAIN),
    }
    agent = {
        **row,
        "learns_by_reinforcement": FLAG,
        "is_bound": FLAG,
        "is_weighting": Maybe(FLAG),
        "total_steps": NUMBER,
        "learning_curve": Maybe(_CURVE),
        "weights": Maybe(weights),
    }
    rows = ByName({**_MAIN, "vs_uniform": _COMPARISON})
    return {
        "title": Maybe(TEXT),
        "n_studies": COUNT,
        "seeds": ListOf(COUNT, least=1),
        "contested_share": SHARE,
        "agents": ByName(agent, needed=("uniform",)),
        "models": ByName(row),
        "controls": ByName(row),
        "weights_vary": ByName({"between_body_parts": Maybe(NUMBER), "between_seeds": Maybe(NUMBER)}),
        "behaviour": Maybe(_behaviour(weights, n_models)),
        "curves": Maybe(ByName(_CURVES)),
        "cross_validated": Maybe(OrReason(_cross_validated(rows))),
        "images": Maybe(OrReason({"n_images": COUNT, "agents": rows, "models": rows, "controls": rows})),
        "repeats": Maybe({"n": COUNT}),
    }


PROTOCOL = {
    **dict.fromkeys(("n_train_studies", "n_train_patients", "n_test_patients", "bootstrap_resamples"), COUNT),
    **dict.fromkeys(("model_names", "class_names", "body_part_names"), ListOf(TEXT, least=1)),
    "train_contested_share": SHARE,
    "enough_seeds": FLAG,
    "notes": ListOf(TEXT),
    "holm_family": Maybe(ListOf(TEXT)),
}
"""Shape of `protocol`."""


def _behaviour(weights: Shape, n_models: int) -> Shape:
    study = {
        **dict.fromkeys(("study_id", "body_part", "label", "change"), TEXT),
        **dict.fromkeys(("probability", "baseline_probability"), NUMBER),
        "weights": ListOf(NUMBER, length=n_models),
    }
    agent = {
        "entropy": _SPREAD,
        "distance_from_uniform": _SPREAD,
        "by_body_part": ByName(
            Maybe({"weights": {**weights, "study_spread": ListOf(NUMBER, length=n_models)}})
        ),
        "changed_verdicts": {
            **dict.fromkeys(("better", "worse", "neither"), COUNT),
            "studies": ListOf(study),
        },
        "gap_closed": Maybe(NUMBER),
        "regret": {"to_best_member": _SPREAD},
        "learning_regret": Maybe({"mean": NUMBER}),
    }
    pair = {
        "members": ListOf(TEXT, length=2),
        **dict.fromkeys(("agreement", "disagreement", "double_fault"), SHARE),
        "q_statistic": Maybe(NUMBER),
    }
    member = {"slope": Maybe(NUMBER), "intercepts": Maybe(ListOf(NUMBER))}
    return {
        "agents": ByName(agent),
        "members": {"pairs": ListOf(pair), "all_wrong_share": SHARE},
        "calibration": ByName({"members": ByName(Maybe(member)), "contested_share": SHARE}),
        "oracle": {"accuracy": SHARE, "uniform_accuracy": SHARE},
    }


def _cross_validated(rows: Shape) -> Shape:
    counts = dict.fromkeys(("n_studies", "n_patients", "n_folds"), COUNT)
    return {"label": TEXT, "why": TEXT, **counts, "seeds": ListOf(COUNT), "agents": rows, "controls": rows}
