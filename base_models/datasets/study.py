"""The study index: what every data set is turned into before a pixel is read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class Study:
    """One examination of one body part of one patient: the unit that gets a verdict."""

    study_id: str
    """Unique within the data set."""
    patient_id: str
    """Groups the studies that must never be divided between two splits or folds."""
    body_part: str
    """One of the data set's `body_part_names`."""
    label: int
    """Index into the data set's `class_names`."""
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
    """Names of the classes, the first one the normal one."""
    body_part_names: tuple[str, ...]
    """Names of the body parts, sorted."""
    studies: tuple[Study, ...]
    """All studies of both splits, in a fixed order."""
    remarks: tuple[str, ...] = ()
    """What a reader of any result should know of the data, one sentence each."""
    contradictions: tuple[str, ...] = ()
    """Where its own files contradict each other, one sentence each; `open_dataset` refuses them."""

    def of_split(self, split: Split) -> tuple[Study, ...]:
        """Return the studies of one split, in the order of the index."""
        return tuple(study for study in self.studies if study.split == split)


def single_images(studies: Sequence[Study]) -> tuple[Study, ...]:
    """Return each radiograph as a study of its own, `<study_id>#<number of the view, from 1>`, in order."""
    return tuple(
        replace(study, study_id=f"{study.study_id}#{number}", image_paths=(path,))
        for study in studies
        for number, path in enumerate(study.image_paths, start=1)
    )


def check_dataset(dataset: Dataset) -> None:
    """Refuse an index that nothing could be learned from or measured on.

    Raises:
        ValueError: If the data set's files contradict each other, study ids repeat, a study has no image, a
            split is empty or has one class only, or a patient is on both sides of the split.
    """
    where = f"{dataset.name} in {dataset.root}"
    if dataset.contradictions:
        more = len(dataset.contradictions) - 1
        raise ValueError(
            dataset.contradictions[0] + (f" (and {more} more; `mura check-data` lists all)" if more else "")
        )
    repeated = [study_id for study_id, n in Counter(s.study_id for s in dataset.studies).items() if n > 1]
    if repeated:
        raise ValueError(
            f"{where}: expected unique study ids, got {len(repeated)} repeated, first {repeated[0]!r}"
        )
    for study in dataset.studies:
        if not study.image_paths:
            raise ValueError(
                f"{where}: expected at least one image per study, got none for {study.study_id!r}"
            )
    labels_of = {split: {study.label for study in dataset.of_split(split)} for split in SPLITS}
    for split, labels in labels_of.items():
        if not labels:
            raise ValueError(
                f"{where}: expected studies in both splits, got an empty {split} split; complete the data set"
            )
    for split, labels in labels_of.items():
        if len(labels) == 1:
            raise ValueError(
                f"{where}: expected studies of at least two classes in the {split} split, "
                f"got only {dataset.class_names[labels.pop()]!r}; complete the data set"
            )
    patients = [{study.patient_id for study in dataset.of_split(split)} for split in SPLITS]
    shared = sorted(set.intersection(*patients))
    if shared:
        raise ValueError(
            f"{where}: expected every patient on one side of the split, got {len(shared)} on both, "
            f"first {shared[0]!r}; move all studies of a patient to one side"
        )
