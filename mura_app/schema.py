"""What the documents of a run must look like, so that an edited one is refused in one line.

A shape is a JSON schema (draft 2020-12) that says in its `description` what it asks for.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from agents.metrics import FIGURES
from mura_env.errors import UserError
from mura_env.utils.files import read_json

Shape = Mapping[str, Any]

NUMBER: Shape = {"type": "number", "description": "a number"}
SHARE: Shape = {"type": "number", "minimum": 0, "maximum": 1, "description": "a number from 0 to 1"}
COUNT: Shape = {"type": "integer", "minimum": 0, "description": "a whole number, not negative"}
FLAG: Shape = {"type": "boolean", "description": "true or false"}
TEXT: Shape = {"type": "string", "description": "a text"}
ANYTHING: Shape = {}
_OBJECT: Shape = {"type": "object", "description": "an object"}


def list_of(values: Shape, *, length: int | None = None, least: int = 0) -> Shape:
    """A list of values of one shape; `length` is their number if it matters, `least` the fewest."""
    size = f" of {length} values" if length is not None else f" of at least {least} values" if least else ""
    limits = {"minItems": least} if length is None else {"minItems": length, "maxItems": length}
    return {"type": "array", "description": f"a list{size}", **limits, "items": values}


def record(shapes: Mapping[str, Shape]) -> Shape:
    """An object, which may hold more than this.

    Args:
        shapes: Key → shape, or several keys of one shape with spaces between them. A key with a question mark
            behind it may be missing or null.
    """
    by_key = {key: shape for keys, shape in shapes.items() for key in keys.split()}
    return {
        **_OBJECT,
        "required": [key for key in by_key if not key.endswith("?")],
        "properties": {
            key.removesuffix("?"): or_null(shape) if key.endswith("?") else shape
            for key, shape in by_key.items()
        },
    }


def by_name(values: Shape, *, needed: Iterable[str] = ()) -> Shape:
    """An object of values of one shape by names of any kind; `needed` ones must be there."""
    return {**_OBJECT, "required": [*needed], "additionalProperties": values}


def or_null(shape: Shape) -> Shape:
    """A shape, or null."""
    return {**shape, "type": [shape["type"], "null"]}


def or_reason(shape: Shape) -> Shape:
    """An object of a shape, or one with a `reason` why there is none."""
    return {**_OBJECT, "if": {"required": ["reason"], "properties": {"reason": TEXT}}, "else": shape}


def read_document(path: Path, expected: str, shape: Shape, advice: str) -> dict[str, Any]:
    """Read a JSON document of this shape.

    Args:
        path: The file.
        expected: What the reader hopes to find, for the messages.
        shape: What it must look like.
        advice: What to do where it has another shape.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no JSON object or has another shape.
    """
    document = read_json(path, expected)
    found = misfit(document, shape)
    if found is not None:
        raise UserError(f"expected {expected}, got {path} {found}; {advice}")
    return document


def misfit(document: Any, shape: Shape) -> str | None:
    """Say where a document has another shape than it must have: of all such places the outermost; or None."""
    try:
        errors = _validator()(shape).iter_errors(document)
        error = min(errors, key=lambda error: (len(error.path), error.json_path), default=None)
        words = "" if error is None else repr(error.instance)
    except RecursionError:
        return "with lists or objects nested too deeply"
    if error is None:
        return None
    place = error.json_path.removeprefix("$").removeprefix(".")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"without {missing!r}" + (f" in {place}" if place else "")
    got = words if len(words) <= 40 else words[:40] + "…"
    return f"with {got} where {place or 'it'} should be {error.schema['description']}"


@cache
def _validator() -> Any:
    """The validator of draft 2020-12, except that 1.0 is no whole number: a count must serve as an index."""
    # to import it takes a tenth of a second, for which `--help` need not wait
    from jsonschema import Draft4Validator, Draft202012Validator, validators  # noqa: PLC0415

    return validators.extend(Draft202012Validator, type_checker=Draft4Validator.TYPE_CHECKER)


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
