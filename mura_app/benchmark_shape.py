"""The shape of `benchmark.json`, as far as reports and evaluations read it; see `mura_app.document_shape`."""

from collections.abc import Mapping
from typing import Any

from agents.metrics import FIGURES
from mura_app.document_shape import (
    ANYTHING,
    COUNT,
    FLAG,
    NUMBER,
    SHARE,
    TEXT,
    Shape,
    by_name,
    list_of,
    or_null,
    or_reason,
    record,
)

_NUMBERS, _ENDS = list_of(NUMBER), list_of(NUMBER, length=2)
_FIGURE = record({"mean?": NUMBER, "ci95?": _ENDS})
_SPREAD = record({"mean seed_spread": NUMBER})
_MAIN = {"accuracy kappa auroc": _FIGURE}
_OTHERS = {f"{name}?": _FIGURE for name in FIGURES if name not in {"accuracy", "kappa", "auroc"}}
_COMPARISON = record(
    {
        "accuracy_difference": NUMBER,
        "ci95": _ENDS,
        "permutation_p holm_p? mcnemar_p? mcnemar_mid_p?": SHARE,
        "delong?": record({"p": SHARE}),
        "kappa_difference? auroc_difference?": _FIGURE,
        "standard_error? seed_spread? smallest_detectable_difference?": NUMBER,
        "over_repeats?": record({"values": list_of(NUMBER, least=1), "mean spread": NUMBER}),
    }
)
_COMPARED = by_name(record({**_MAIN, "vs_uniform": _COMPARISON}))
_CURVE = record({"steps": _NUMBERS, "accuracy": record({"mean seed_spread": _NUMBERS})})
_CURVES = record(
    {
        "roc?": record({"false_positive_rate true_positive_rate": _NUMBERS}),
        "reliability": record({"predicted observed n": _NUMBERS}),
    }
)
_CROSS_VALIDATED = record(
    {
        "label why": TEXT,
        "n_studies n_patients n_folds": COUNT,
        "seeds": list_of(COUNT),
        "agents controls": _COMPARED,
    }
)
_IMAGES = record({"n_images": COUNT, "agents models controls": _COMPARED})

PROTOCOL = record(
    {
        "n_train_studies n_train_patients n_test_patients bootstrap_resamples": COUNT,
        "model_names class_names body_part_names": list_of(TEXT, least=1),
        "train_contested_share": SHARE,
        "enough_seeds": FLAG,
        "notes holm_family?": list_of(TEXT),
    }
)
"""Shape of `protocol`."""


def benchmark_shape(protocol: Mapping[str, Any]) -> Shape:
    """Return the shape that a benchmark of these models and body parts must have.

    Args:
        protocol: The benchmark's `protocol`, of the shape `PROTOCOL`.
    """
    by_model = list_of(NUMBER, length=len(protocol["model_names"]))
    weights = record({"mean seed_spread": by_model})
    part = record({**_MAIN, **_OTHERS, "n_studies": COUNT, "weights?": weights, "reason?": TEXT})
    row = {
        **_MAIN,
        **_OTHERS,
        "auroc_within_body_parts?": _FIGURE,
        "vs_uniform": _COMPARISON,
        "per_body_part": by_name(part, needed=protocol["body_part_names"]),
        "macro?": record(_MAIN),
    }
    agent = {
        **row,
        "learns_by_reinforcement is_bound is_weighting?": FLAG,
        "options?": by_name(ANYTHING),
        "total_steps": NUMBER,
        "learning_curve?": _CURVE,
        "weights?": weights,
    }
    return record(
        {
            "title?": TEXT,
            "n_studies": COUNT,
            "seeds": list_of(COUNT, least=1),
            "contested_share": SHARE,
            "agents": by_name(record(agent), needed=["uniform"]),
            "models controls": by_name(record(row)),
            "weights_vary": by_name(record({"between_body_parts? between_seeds?": NUMBER})),
            "behaviour?": _behaviour(by_model),
            "curves?": by_name(_CURVES),
            "cross_validated?": or_reason(_CROSS_VALIDATED),
            "images?": or_reason(_IMAGES),
            "repeats?": record({"n": COUNT}),
        }
    )


def _behaviour(by_model: Shape) -> Shape:
    study = {
        "study_id body_part label change": TEXT,
        "probability baseline_probability": NUMBER,
        "weights": by_model,
    }
    weights = record({"mean seed_spread study_spread": by_model})
    agent = {
        "entropy distance_from_uniform": _SPREAD,
        "by_body_part": by_name(or_null(record({"weights": weights}))),
        "changed_verdicts": record({"better worse neither": COUNT, "studies": list_of(record(study))}),
        "gap_closed?": NUMBER,
        "regret": record({"to_best_member": _SPREAD}),
        "learning_regret?": record({"mean": NUMBER}),
    }
    pair = {
        "members": list_of(TEXT, length=2),
        "agreement disagreement double_fault": SHARE,
        "q_statistic?": NUMBER,
    }
    calibrations = by_name(or_null(record({"slope?": NUMBER, "intercepts?": _NUMBERS})))
    return record(
        {
            "agents": by_name(record(agent)),
            "members": record({"pairs": list_of(record(pair)), "all_wrong_share": SHARE}),
            "calibration": by_name(record({"members": calibrations, "contested_share": SHARE})),
            "oracle": record({"accuracy uniform_accuracy": SHARE}),
        }
    )
