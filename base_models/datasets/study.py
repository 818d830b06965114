"""The study index: what every data set is turned into before a pixel is read."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from mura_env.cells import listed
from mura_env.class_order import ClassOrder, class_order, normal_class
from mura_env.errors import UserError

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


class Box(NamedTuple):
    """A rectangle in pixels of the radiograph as it is shown, from its top left corner."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True)
class Study:
    """One examination of one body part of one patient: the unit that gets a prediction."""

    study_id: str
    """Unique within the data set."""
    patient_id: str
    """Groups the studies that must never be divided between two splits or folds."""
    body_part: str
    """One of the data set's `body_part_names`."""
    label: int
    """Index into the data set's `class_names`; -1 where it is not known, in an index to predict from."""
    split: Split
    """The side of the train/test split that the study's patient is on."""
    image_paths: tuple[Path, ...]
    """The study's radiographs (views), at least one."""
    metadata: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """What is known of the study without looking at a pixel, such as view flags."""


@dataclass(frozen=True)
class Dataset:
    """A data set's studies and the names that their fields refer to."""

    name: str
    """The kind of data set, such as `MURA`."""
    root: Path
    """The folder that the images lie in."""
    class_names: tuple[str, ...]
    """Names of the classes; `open_dataset` puts the normal one first and, of two, the positive one last."""
    body_part_names: tuple[str, ...]
    """Names of the body parts, sorted."""
    studies: tuple[Study, ...]
    """All studies of both splits, in a fixed order."""
    remarks: tuple[str, ...] = ()
    """What a reader of any result should know of the data, one sentence each."""
    boxes: Mapping[Path, tuple[Box, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Image file → the boxes that experts drew around what they found in it, where they did."""
    contradictions: tuple[str, ...] = ()
    """Where its own files contradict each other, one sentence each; `open_dataset` refuses them."""

    def of_split(self, split: Split) -> tuple[Study, ...]:
        """Return the studies of one split, in the order of the index."""
        return tuple(study for study in self.studies if study.split == split)


def in_class_order(dataset: Dataset, positive: str | None = None) -> Dataset:
    """Put a data set's classes in order; two that are called 0 and 1 get the names normal and abnormal.

    Where it is open which of two classes is positive, the question stands among the contradictions.

    Args:
        dataset: As a reader gives it.
        positive: The positive class, where the user has said which.

    Raises:
        ValueError: If `positive` is none of two classes, or contradicts their names.
    """
    names = dataset.class_names
    are_numbers = names == ("0", "1")  # whose meaning is a convention, not a word: the user may turn it round
    order = ClassOrder((1, 0)) if are_numbers and positive == "0" else class_order(names, positive)
    remarks = [*dataset.remarks, *filter(None, [order.remark])]
    ordered = ("normal", "abnormal") if are_numbers else tuple(names[i] for i in order.positions)
    if normal_class(ordered) is None:
        remarks.append(
            f"None of the classes {listed(ordered)} alone says that it is the normal one; each is compared "
            "with the others."
        )
    studies = dataset.studies
    if not order.is_given:
        label_of = {position: label for label, position in enumerate(order.positions)}
        studies = tuple(replace(study, label=label_of[study.label]) for study in studies)
    return replace(
        dataset,
        class_names=ordered,
        studies=studies,
        remarks=tuple(remarks),
        contradictions=(*dataset.contradictions, *filter(None, [order.question])),
    )


def single_images(studies: Sequence[Study]) -> tuple[Study, ...]:
    """Return each radiograph as a study of its own, `<study_id>#<number of the view, from 1>`, in order."""
    return tuple(
        replace(study, study_id=f"{study.study_id}#{number}", image_paths=(path,))
        for study in studies
        for number, path in enumerate(study.image_paths, start=1)
    )


def check_index(dataset: Dataset) -> None:
    """Refuse an index whose studies cannot be relied on, whatever is done with them.

    Raises:
        ValueError: If the data set's files contradict each other, or `index_faults` finds something.
    """
    if dataset.contradictions:
        more = len(dataset.contradictions) - 1
        raise UserError(
            dataset.contradictions[0] + (f" (and {more} more; `mura check-data` lists all)" if more else "")
        )
    if fault := next(index_faults(dataset), None):
        raise UserError(fault)


def check_dataset(dataset: Dataset) -> None:
    """Refuse an index that nothing could be learned from or measured on.

    Raises:
        ValueError: If `check_index` or `structural_faults` find something, or a patient is on both sides of
            the split.
    """
    check_index(dataset)
    if fault := next(structural_faults(dataset), None):
        raise UserError(fault)
    if shared := patients_on_both_sides(dataset):
        raise UserError(
            f"{dataset.name} in {dataset.root}: expected every patient on one side of the split, got "
            f"{len(shared)} on both, first {shared[0]!r}; move all studies of a patient to one side"
        )


def index_faults(dataset: Dataset) -> Iterator[str]:
    """Yield, one sentence each, what is wrong with studies: ids that repeat, and studies without an image."""
    where = f"{dataset.name} in {dataset.root}"
    repeated = [study_id for study_id, n in Counter(s.study_id for s in dataset.studies).items() if n > 1]
    if repeated:
        yield f"{where}: expected unique study ids, got {len(repeated)} repeated, first {repeated[0]!r}"
    for study in dataset.studies:
        if not study.image_paths:
            yield f"{where}: expected at least one image per study, got none for {study.study_id!r}"


def structural_faults(dataset: Dataset) -> Iterator[str]:
    """Yield, one sentence each, why nothing could be learned from an index or measured on it.

    That is what `index_faults` finds, a split that is empty or has one class only, and a class that no
    training study has.
    """
    yield from index_faults(dataset)
    where = f"{dataset.name} in {dataset.root}"
    labels_of = {split: {study.label for study in dataset.of_split(split)} for split in SPLITS}
    for split, labels in labels_of.items():
        if not labels:
            yield (
                f"{where}: expected studies in both splits, got an empty {split} split; complete the data set"
                + (" (validation studies are never scored)" if split == "test" else "")
            )
    for split, labels in labels_of.items():
        if len(labels) == 1:
            (label,) = labels
            yield (
                f"{where}: expected studies of at least two classes in the {split} split, "
                f"got only {dataset.class_names[label]!r}; complete the data set"
            )
    absent = [name for label, name in enumerate(dataset.class_names) if label not in labels_of["train"]]
    if absent and len(labels_of["train"]) > 1:
        yield (
            f"{where}: expected studies of all {len(dataset.class_names)} classes in the train split, "
            f"got none of {', '.join(map(repr, absent))}; add some, or take the class out of the labels"
        )


def patients_on_both_sides(dataset: Dataset) -> list[str]:
    """Return the patients who have studies in both splits, sorted."""
    sides = [{study.patient_id for study in dataset.of_split(split)} for split in SPLITS]
    return sorted(set.intersection(*sides))


_NAMED = 100
"""Images that an error names; it counts the others."""


def without_bad_images(
    studies: Sequence[Study], unreadable: Mapping[Path, str], skip: bool
) -> tuple[Study, ...]:
    """Return studies without their unreadable images, and without studies that have no other.

    Args:
        studies: The studies.
        unreadable: Image files that cannot be read, each with the reason, which names the file.
        skip: Whether they may be left out.

    Raises:
        ValueError: If there are any and they may not be left out, or nothing else is left.
    """
    if not unreadable:
        return tuple(studies)
    named = "\n  ".join(list(unreadable.values())[:_NAMED])
    if len(unreadable) > _NAMED:
        named += f"\n  and {len(unreadable) - _NAMED} more, all of which `mura check-data DATA --json` names"
    if not skip:
        raise UserError(
            f"expected every image to be readable, got {len(unreadable)} that is not; repair the files, or "
            f"leave them out with --skip-bad-images (and --resume, where a run has begun):\n  {named}"
        )
    kept = (
        replace(study, image_paths=tuple(path for path in study.image_paths if path not in unreadable))
        for study in studies
    )
    left = tuple(study for study in kept if study.image_paths)
    if not left:
        raise UserError(f"expected readable images, got none; repair the files:\n  {named}")
    return left
