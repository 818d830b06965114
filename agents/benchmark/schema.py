"""The row that everything on a test table is scored in, as JSON, and what all documents are made of.

The models say each field's type, range and meaning once: they check what is written and read, name the field
that is wrong, and give the JSON schema. An undefined figure is null, never NaN.
"""

from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from mura_env.utils.plugins import NAME

AgentName = Annotated[str, Field(pattern=f"^{NAME}$")]
"""Name of an agent, which becomes part of the names of its files."""
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
"""A number that can be drawn."""
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Ends = Annotated[list[Number], Field(min_length=2, max_length=2)]


class Document(BaseModel):
    """A JSON object of known fields: no others, no NaN, and no value that would have to be converted."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,  # at the first use: commands import this before they answer `--help`
    )


class Reason(Document):
    """Stands where there is nothing."""

    reason: str
    """Why."""


def _has_reason(value: Any) -> str:
    is_reason = isinstance(value, Reason) or (isinstance(value, dict) and "reason" in value)
    return "<reason>" if is_reason else "<values>"


Values = TypeVar("Values")
OrReason: TypeAlias = Annotated[
    Annotated[Values, Tag("<values>")] | Annotated[Reason, Tag("<reason>")], Discriminator(_has_reason)
]
"""Values, or an object that says why there are none; the tags stand in the place of an error."""


class Figure(Document):
    """A figure over seeds. The spread over seeds and the interval over patients do not contain each other."""

    mean: Number | None
    """Mean over seeds; null where it is not defined."""
    ci95: Ends | None = None
    """95 % interval, by patient, of the mean over seeds."""
    seed_spread: float | None = None
    """Standard deviation over seeds."""


class SeedFigure(Document):
    """A figure over seeds that is always defined and has no interval."""

    mean: Number
    """Mean over seeds."""
    seed_spread: float
    """Standard deviation over seeds, 0 for one."""


class Weights(Document):
    """Mean weights, one number a member."""

    mean: list[Number]
    """Mean over studies and seeds."""
    seed_spread: list[float]
    """Standard deviation over seeds of the mean over studies."""


class Figures(Document):
    """The figures of `agents.metrics.FIGURES`.

    Intervals are the patient bootstrap's, except where a field names another.
    """

    accuracy: Figure
    """Primary; with Wilson's interval, see `agents.statistics.intervals`."""
    balanced_accuracy: Figure
    kappa: Figure
    """Cohen's."""
    auroc: Figure
    average_precision: Figure
    """With the jackknife's interval, see `agents.statistics.jackknife`."""
    sensitivity: Figure
    """With Wilson's interval."""
    specificity: Figure
    """With Wilson's interval."""
    sensitivity_at_90_specificity: Figure
    """With an interval on the scale of log odds, see `agents.statistics.intervals`."""
    threshold: Figure
    """On the probability of class 1: Youden's, chosen on studies of the training table that the agent has not
    learned from (by cross-validation), one for all seeds; without an interval."""
    sensitivity_at_threshold: Figure
    """With Wilson's interval."""
    specificity_at_threshold: Figure
    """With Wilson's interval."""
    f1: Figure
    brier: Figure
    log_loss: Figure
    calibration_error: Figure
    """Its interval allows for noise, which can only raise it, and need not contain the mean, see
    `agents.statistics.calibration`."""


class MacroFigures(Figures):
    """The plain means over the body parts that are scored; that of the calibration error has no interval."""

    n_body_parts: Count
    """How many these are."""


class AccuracyDifference(Document):
    """Accuracy minus that of uniform averaging on the same studies."""

    accuracy_difference: Number
    ci95: Ends
    """Patient bootstrap with two imaginary patients who differ, so that it is never a point."""


class DeLong(Document):
    """DeLong's test of the AUROC difference, clustered by patient."""

    p: Share
    ci95: Ends
    standard_error: float


class OverRepeats(Document):
    """A figure over several trainings of the base models."""

    values: Annotated[list[float], Field(min_length=1)]
    """In the order of the trainings."""
    mean: float
    spread: float
    """Standard deviation."""


class PairedComparison(AccuracyDifference):
    """A comparison with uniform averaging on the same studies."""

    standard_error: float | None
    """Over patients."""
    seed_spread: float
    """Standard deviation over seeds."""
    permutation_p: Share
    """The primary test: sign flips by patient of the seed-averaged correctness."""
    holm_p: Share | None
    """That adjusted for the family of the comparisons; null for what does not belong to it."""
    mcnemar_p: Share
    """Exact, of the predictions of the seed-averaged probabilities; McNemar's test takes studies for
    independent, which a patient's are not."""
    mcnemar_mid_p: Share
    only_this_correct: Count
    """Studies, for McNemar's test."""
    only_uniform_correct: Count
    """Studies, for McNemar's test."""
    delong: DeLong | None
    """Null with more than two classes."""
    minimum_detectable_difference: float | None
    """True difference in accuracy that the primary test finds on a table like this with a power of 80 %."""


class Comparison(PairedComparison):
    """A comparison with uniform averaging on the test table."""

    kappa_difference: Figure
    auroc_difference: Figure
    over_repeats: OverRepeats | None = None
    """`accuracy_difference` over several trainings of the base models."""


class BodyPart(Figures):
    """The figures of one body part; null in a part with fewer than five studies of a class."""

    n_studies: Count
    reason: str | None = None
    """Why there are no figures."""
    vs_uniform: AccuracyDifference | None = None
    weights: Weights | None = None


class Row(Figures):
    """An agent, member or control on the test table."""

    n_studies: Count
    auroc_within_body_parts: Figure
    """Average over body parts weighted by their pairs of a positive and a negative study."""
    macro: MacroFigures
    per_body_part: dict[str, BodyPart]
    vs_uniform: Comparison
    no_threshold: str | None = None
    """Why there is no threshold."""
