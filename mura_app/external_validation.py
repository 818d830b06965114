"""Tables for external validation: an outside data set seen by a run's members, body parts matched by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.external_validation import check_classes
from base_models.cross_fitting import prediction_table
from base_models.data.leakage import learned_from, split_seen_studies
from base_models.datasets import Dataset, open_dataset
from base_models.datasets.study import Study, check_index, single_images, without_bad_images
from base_models.datasets.unlisted import unlisted_files
from base_models.imaging.decoding import file_digests
from base_models.members import TrainedMember, load_trained_members, weights_path
from base_models.metadata_control import metadata_log_probabilities
from base_models.prediction import decode_images, predict_studies_and_images
from base_models.study_features import load_study_features
from mura_app.artifacts import METADATA_CONTROL, dataset_of_run, read_training
from mura_app.predictions_io import load_table
from mura_app.run_directory import RunDirectory
from mura_env import Predictions
from mura_env.cells import listed, spelling
from mura_env.class_order import class_order, normal_first, positions_of
from mura_env.errors import UserError
from mura_env.utils.progress import Progress


def training_table(run: RunDirectory) -> Predictions:
    """Read what the agents of a run learned from, wherever the run got it from."""
    own = run.predictions / "train.npz"
    if own.is_file():
        return load_table(own)
    config = run.read_config()
    return load_table(Path(str(config.get("train") or own)), config.get("positive"))


@dataclass(frozen=True)
class Outside:
    """Outside studies, as a run's members and its control without pixels see them."""

    table: Predictions
    """The studies."""
    images: Predictions | None = None
    """Their radiographs one by one, where they are known."""
    dataset: Dataset | None = None
    """Where the radiographs lie."""
    controls: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Class probabilities by name, shape (n_studies, n_classes)."""
    remarks: tuple[str, ...] = ()
    """What a reader of the result should know, one sentence each."""
    skipped_images: Mapping[str, str] = field(default_factory=dict)
    """Image files that could not be read and were left out, each with the reason."""


def outside_tables(
    predictions: Path,
    images: Path | None,
    mapping: Mapping[str, str],
    known: Sequence[str],
    positive: str | None = None,
) -> Outside:
    """Read tables of outside studies and, if they are known, of their radiographs, from files.

    Outside body parts are mapped to the `known` ones of the run, see `map_body_parts`.
    """
    tables = [load_table(path, positive) for path in (predictions, images) if path is not None]
    mapped = [map_body_parts(table, mapping, known) for table in tables]
    return Outside(mapped[0], mapped[1] if images is not None else None)


def predict_dataset(
    run: RunDirectory,
    data: Path,
    mapping: Mapping[str, str],
    known: Sequence[str],
    progress: Progress | None = None,
    *,
    positive: str | None = None,
    skip_bad_images: bool = False,
) -> Outside:
    """Let the trained members of a run read the radiographs of a data set.

    All studies of the data set are read, whatever split they are of, and one split will do; but none of a
    patient whose radiographs the members have learned from, wherever these lie. The arguments are those of
    `outside_tables`.

    Raises:
        FileNotFoundError: There is no such folder, or the run has no members.
        ValueError: The data set is of no known kind, contradicts itself, has no study or other classes, none
            that the members have not learned from, or images cannot be read.
    """
    config = run.read_config()
    members = load_trained_members(run.path)
    classes = members[0].class_names
    dataset = _open_outside(data, config.get("seed") or 0, classes, positive)
    check_index(dataset)
    label_of, matched = _matched_classes(classes, dataset.class_names)
    check_mapping(mapping, sorted({study.body_part for study in dataset.studies}), known)
    check_classes(label_of[study.label] for study in dataset.studies)  # before any file is read
    studies, remarks = _studies_to_read(dataset, run, members, progress)
    remarks += matched
    studies = tuple(
        replace(study, body_part=mapping.get(study.body_part, study.body_part), label=label_of[study.label])
        for study in studies
    )
    decoded = decode_images(members, [path for study in studies for path in study.image_paths], progress)
    studies = without_bad_images(studies, decoded.unreadable, skip_bad_images)
    if decoded.unreadable:
        first = next(iter(decoded.unreadable.values()))
        remarks.append(
            f"{len(decoded.unreadable):,} image(s) that cannot be read were left out, the first one: {first}."
        )
    names = [member.config.name for member in members]
    of_studies, of_images = predict_studies_and_images(
        members, studies, progress, images=decoded, features=load_study_features(run.path, names)
    )
    controls, why_none = metadata_control(run, studies, known, len(classes))
    parts = tuple(sorted({study.body_part for study in studies}))
    named = replace(dataset, class_names=classes, body_part_names=parts)
    return Outside(
        table=prediction_table(named, studies, of_studies, names),
        images=prediction_table(named, single_images(studies), of_images, names),
        dataset=dataset,
        controls=controls,
        remarks=(*remarks, *why_none),
        skipped_images={str(path): reason for path, reason in decoded.unreadable.items()},
    )


def _studies_to_read(
    dataset: Dataset, run: RunDirectory, members: Sequence[TrainedMember], progress: Progress | None
) -> tuple[tuple[Study, ...], list[str]]:
    """Return the studies of a data set that are scored, and what a reader should know of it."""
    if not dataset.studies:
        raise UserError(f"expected studies in {dataset.root}, got none; check the path")
    remarks = list(dataset.remarks)
    images = [path for study in dataset.studies for path in study.image_paths]
    weights = (
        weights_path(run.path, m.config.name, fold) for m in members for fold in range(len(m.networks))
    )
    seen = {digest for file in weights for digest in learned_from(file)}
    if not seen:
        remarks.append(
            "The members do not tell which radiographs they have learned from; if some are among these, the "
            "figures are too good."
        )
    studies, known = split_seen_studies(dataset.studies, file_digests(images, progress) if seen else {}, seen)
    if known:
        remarks.append(
            f"Of {len(dataset.studies):,} studies {len(known):,} were left out: the members have learned "
            "from radiographs of their patients, whatever the files are called here."
        )
    if len({study.label for study in studies}) < 2:
        raise UserError(
            f"expected studies of two classes in {dataset.root} that the members have not learned from, got "
            f"{len(studies):,} of one at most beside {len(known):,} that they have; name other data"
        )
    if unlisted := unlisted_files(dataset.root, images):
        remarks.append(
            f"{len(unlisted):,} file(s) that belong to no study were not read; `mura check-data` names them."
        )
    return studies, remarks


def metadata_control(
    run: RunDirectory, studies: Sequence[Study], known: Sequence[str], n_classes: int
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Ask the control that sees no pixel, fitted on the run's training studies, for outside studies.

    By its name, class probabilities of shape (n_studies, n_classes); nothing, and a sentence that says why,
    where the run's own radiographs, whose sizes it learns from, are no longer in their place.
    """
    dataset = dataset_of_run(run)
    skipped = set(read_training(run)["skipped_images"])
    learned = [
        replace(study, image_paths=kept)
        for study in (() if dataset is None else dataset.of_split("train"))
        if (kept := tuple(path for path in study.image_paths if str(path) not in skipped))
    ]
    if not learned:
        return {}, [
            "There is no metadata-only control: the run's own radiographs are no longer where they were."
        ]
    log_probabilities = metadata_log_probabilities(learned, studies, known, n_classes)
    probabilities = np.exp(log_probabilities)
    return {METADATA_CONTROL: probabilities / probabilities.sum(axis=1, keepdims=True)}, []


def _open_outside(data: Path, seed: int, ours: Sequence[str], positive: str | None) -> Dataset:
    """Open a data set; of the run's own two classes, the positive one is the run's if names leave it open."""
    dataset = open_dataset(data, seed=seed, check=False, positive=positive)
    order = class_order(dataset.class_names)
    if positive is not None or not (order.question or order.remark) or len(ours) != 2:
        return dataset
    if positions_of(dataset.class_names).keys() != positions_of(ours).keys():
        return dataset
    return open_dataset(data, seed=seed, check=False, positive=ours[1])


def _matched_classes(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[int], list[str]]:
    """Match a data set's classes with the run's by name, or two by which is positive and with a remark."""
    known = positions_of(ours)
    labels = [known.get(spelling(name), -1) for name in theirs]
    if len(ours) == len(theirs) and -1 not in labels:
        return labels, []
    if len(ours) != 2 or len(theirs) != 2:
        raise UserError(
            f"expected a data set of the classes {listed(ours)}, got {listed(theirs)}; give its labels the "
            "run's names"
        )
    labels = list(normal_first(ours))
    pairs = ", ".join(f"{their} as {ours[label]}" for their, label in zip(theirs, labels, strict=True))
    return labels, [f"The data set's classes are matched with the run's, the positive one last: {pairs}."]


def parse_mapping(words: Sequence[str]) -> dict[str, str]:
    """Read `theirs=ours` pairs of body parts."""
    mapping: dict[str, str] = {}
    for word in words:
        theirs, equals, ours = word.partition("=")
        if not (theirs and equals and ours):
            raise UserError(f"expected --map-body-part THEIRS=OURS, such as hand=XR_HAND, got {word!r}")
        if mapping.setdefault(theirs, ours) != ours:
            raise UserError(f"expected each body part to be mapped once, got {theirs!r} twice")
    return mapping


def check_mapping(mapping: Mapping[str, str], theirs: Sequence[str], known: Sequence[str]) -> None:
    """Make sure that body parts are mapped from names of the outside data to names of the run."""
    for which, names, given in (
        ("the outside data", theirs, mapping.keys()),
        ("the run", known, mapping.values()),
    ):
        strange = sorted(set(given) - set(names))
        if strange:
            raise UserError(f"expected body parts of {which} ({', '.join(names)}), got {', '.join(strange)}")


def map_body_parts(table: Predictions, mapping: Mapping[str, str], known: Sequence[str]) -> Predictions:
    """Rename body parts of an outside table from its names to the run's; several may become one."""
    check_mapping(mapping, table.body_part_names, known)
    names = [
        mapping.get(table.body_part_names[part], table.body_part_names[part]) for part in table.body_parts
    ]
    columns: dict[str, Any] = {
        name: getattr(table, name)
        for name in (
            *("study_ids", "patient_ids", "n_views", "model_names", "class_names", "difficulty"),
            *("features", "feature_names", "costs", "group_name", "subgroups", "subgroup_names"),
        )
    }
    labels = np.array(table.class_names)[table.labels]
    return Predictions.from_arrays(table.logits, labels, names, **columns)
