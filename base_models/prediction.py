"""From views to studies: the logits of networks that have been trained, and how the views are aggregated.

Class 0 is the normal one, in which nothing is found. A study is abnormal if one of its views shows a finding,
which the maximum and the noisy-or take literally; the mean also trusts the views in which nothing is seen.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from base_models.datasets.study import Study, without_bad_images
from base_models.imaging.decoding import SquareFormat, each_image, resize
from base_models.imaging.reader import ImageError, decode, read_file
from base_models.members import TrainedMember
from base_models.networks.heat_map import forward_with_map, is_two_step
from base_models.networks.input_format import GREY, InputFormat
from base_models.study_features import StudyFeatures, notes_of, similarities
from mura_env.errors import UserError
from mura_env.utils.progress import Progress


@dataclass(frozen=True)
class DecodedImages:
    """Radiographs as trained members take them."""

    squares: Mapping[SquareFormat, NDArray[np.uint8]]
    """By format: shape (n_images, side, side); an image that could not be read is all zero."""
    rows: Mapping[Path, int]
    """Row of each image file."""
    unreadable: Mapping[Path, str]
    """Image files that could not be read, each with the reason (which names the file)."""

    def of_member(self, member: TrainedMember) -> NDArray[np.uint8]:
        """Return the squares that a member takes, shape (n_images, side, side)."""
        return self.squares[member.square_format]


def decode_images(
    members: Sequence[TrainedMember], paths: Sequence[Path], progress: Progress | None = None
) -> DecodedImages:
    """Decode image files for all members, in parallel threads."""
    formats = {member.square_format for member in members}
    squares = {of: np.zeros((len(paths), of.side, of.side), dtype=np.uint8) for of in formats}

    def read(path: Path) -> dict[SquareFormat, NDArray[np.uint8]]:
        data = read_file(path)
        return {of: of.square(decode(path, data, of.at_least))[0] for of in formats}

    unreadable: dict[Path, str] = {}
    for row, found in enumerate(each_image(paths, read, progress)):
        if isinstance(found, ImageError):
            unreadable[paths[row]] = str(found)
        else:
            for of, square in found.items():
                squares[of][row] = square
    return DecodedImages(squares, {path: row for row, path in enumerate(paths)}, unreadable)


@dataclass(frozen=True)
class ViewOutputs:
    """What a network says of radiographs."""

    logits: NDArray[np.float32]
    """Shape (n_images, n_classes)."""
    embeddings: NDArray[np.float32]
    """What its last linear layer reads, shape (n_images, size); the logits where it has none."""
    heat_maps: NDArray[np.float32] | None = None
    """Shape (n_images, n_classes - 1, h, w), see `base_models.networks.heat_map`; None where none are asked
    for, or the network has none."""
    attention: NDArray[np.float32] | None = None
    """An attention CNN's, shape (n_images, 1, h, w), from 0 to 1."""


@dataclass
class ViewRecord:
    """What else members see in the views that they predict; filled where it is asked for."""

    embedding_of: tuple[int, int] | None = None
    """Member and fold of the network whose embedding is asked for."""
    with_maps: bool = False
    """Whether heat maps are asked for."""
    embeddings: NDArray[np.float32] | None = None
    """That network's embeddings, shape (n_views, size)."""
    heat_maps: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """By member that has one, shape (n_views, n_classes - 1, h, w): its folds' mean, in calibrated logits."""
    attention: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """By member that has one, shape (n_views, 1, h, w): its folds' mean, from 0 to 1."""

    def add(self, member: int, fold: int, outputs: ViewOutputs, trained: TrainedMember) -> None:
        """Take what a network has seen in all views."""
        if self.embedding_of == (member, fold):
            self.embeddings = outputs.embeddings
        n_folds, temperature = len(trained.networks), trained.calibration.temperature
        for maps, own, scale in (
            (self.heat_maps, outputs.heat_maps, 1 / (n_folds * temperature)),
            (self.attention, outputs.attention, 1 / n_folds),
        ):
            if own is not None:
                maps[member] = maps.get(member, np.float32(0)) + own * np.float32(scale)


BATCH_SIZE = 64


def view_logits(
    network: nn.Module,
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    size: int,
    input_format: InputFormat = GREY,
    *,
    tta_flip: bool = False,
) -> NDArray[np.float32]:
    """Return the logits of `view_outputs`, shape (n_images, n_classes)."""
    return view_outputs(network, images, rows, size, input_format, tta_flip=tta_flip).logits


@torch.no_grad()
def view_outputs(
    network: nn.Module,
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    size: int,
    input_format: InputFormat = GREY,
    *,
    tta_flip: bool = False,
    with_maps: bool = False,
) -> ViewOutputs:
    """Return what a network says of rows of the image cache, computed on its device.

    In single precision; a GPU may round the factors of convolutions to TF32, as torch does by default.

    Args:
        network: In evaluation mode.
        images: The image cache, shape (n_cached, height, width), dtype uint8.
        rows: Rows to predict, shape (n_images,).
        size: Side of the network's input in pixels.
        input_format: What the network takes a radiograph as.
        tta_flip: Return the log of the mean probability of each image and its mirror image instead.
        with_maps: Return heat maps and attention, too, of the images, not mirrored.
    """
    device = next(network.parameters()).device
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    read: list[torch.Tensor] = []
    hook = linear[-1].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])) if linear else None
    parts, embeddings, maps, attentions = [], [], [], []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = np.stack([resize(images[row], size) for row in rows[start : start + BATCH_SIZE]])
        planes = input_format.planes(torch.from_numpy(batch).to(device))
        read.clear()
        if with_maps and is_two_step(network):
            logits, _, heat_map, attention = forward_with_map(network, planes)
            maps.append(heat_map.float().cpu().numpy())
            if attention is not None:
                attentions.append(attention.float().cpu().numpy())
        else:
            logits = network(planes)
        logits = logits.float()
        embeddings.append((read[0] if read else logits).flatten(1).float().cpu().numpy())
        if tta_flip:
            both = torch.stack([logits, network(planes.flip(dims=[3])).float()])
            logits = torch.logsumexp(torch.log_softmax(both, dim=2), dim=0) - math.log(2)
        parts.append(logits.cpu().numpy())
    if hook is not None:
        hook.remove()
    return ViewOutputs(
        np.concatenate(parts),
        np.concatenate(embeddings),
        np.concatenate(maps) if maps else None,
        np.concatenate(attentions) if attentions else None,
    )


SMALLEST_PROBABILITY = 1e-7

Floats = NDArray[np.float64]


def mean(probabilities: NDArray[np.floating], study: NDArray[np.int64], n_studies: int) -> Floats:
    """Return the mean over each study's views."""
    sums = np.zeros((n_studies, probabilities.shape[1]))
    np.add.at(sums, study, probabilities)
    return np.asarray(sums / np.bincount(study, minlength=n_studies)[:, None])


def maximum(probabilities: Floats, study: NDArray[np.int64], n_studies: int) -> Floats:
    """Return the probabilities of each study's view that is surest of a finding."""
    order = np.lexsort((probabilities[:, 0], study))
    first = np.searchsorted(study[order], np.arange(n_studies))
    return np.asarray(probabilities[order[first]])


def noisy_or(probabilities: Floats, study: NDArray[np.int64], n_studies: int) -> Floats:
    """Return the probabilities if each view could show a finding independently of the others.

    Nothing is found if every view shows nothing, with the product of their probabilities (Pearl,
    Probabilistic Reasoning in Intelligent Systems, 1988, section 4.3.2). Several kinds of findings share the
    rest in proportion to 1 − ∏(1 − p) over the views.
    """
    clipped = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    nothing = np.zeros(n_studies)
    np.add.at(nothing, study, np.log(clipped[:, 0]))
    absent = np.zeros((n_studies, probabilities.shape[1] - 1))
    np.add.at(absent, study, np.log1p(-clipped[:, 1:]))
    found = -np.expm1(absent)
    found *= -np.expm1(nothing)[:, None] / found.sum(axis=1, keepdims=True)
    return np.column_stack([np.exp(nothing), found])


VIEW_RULES: Mapping[str, Callable[[Floats, NDArray[np.int64], int], Floats]] = MappingProxyType(
    {"mean": mean, "maximum": maximum, "noisy_or": noisy_or}
)
"""Name → function of view probabilities (n_views, n_classes), the study of each view (n_views,), every study
at least once, and the number of studies; it returns (n_studies, n_classes)."""


def study_logits(
    views: NDArray[np.floating], study_of_view: NDArray[np.int64], n_studies: int, rule: str = "mean"
) -> NDArray[np.float64]:
    """Return the log of each study's aggregated view probabilities, shape (n_studies, n_classes), ≤ 0.

    `views` are logits (n_views, n_classes), `study_of_view` the index of each view's study (n_views,), every
    study at least once; `rule` is a name in `VIEW_RULES`.
    """
    logits = views.astype(np.float64)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    combined = VIEW_RULES[rule](probabilities, study_of_view, n_studies)
    return np.asarray(np.log(np.clip(combined, SMALLEST_PROBABILITY, None)))


def image_log_probabilities(views: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what `study_logits` would if each radiograph were a study; shapes (n_views, n_classes)."""
    return study_logits(views, np.arange(len(views)), len(views))


@dataclass(frozen=True)
class Outputs:
    """What the members of an ensemble say of some studies, or of some radiographs."""

    logits: NDArray[np.floating]
    """Calibrated, shape (n, n_models, n_classes)."""
    features: NDArray[np.floating] | None = None
    """As in the run's tables, shape (n, n_features); None where those have none."""
    feature_names: tuple[str, ...] = ()
    """Names of the features."""


def predict_studies(
    members: Sequence[TrainedMember], studies: Sequence[Study], progress: Progress | None = None
) -> NDArray[np.float32]:
    """Return calibrated logits, the first of what `predict_studies_and_images` gives, without features."""
    return np.asarray(predict_studies_and_images(members, studies, progress)[0].logits, dtype=np.float32)


def _outputs_by_fold(
    member: TrainedMember, squares: NDArray[np.uint8], rows: NDArray[np.int64], *, with_maps: bool
) -> list[ViewOutputs]:
    """Return what each network of a member says of rows of decoded images."""
    return [
        view_outputs(
            network,
            squares,
            rows,
            member.config.image_size,
            member.input_format,
            tta_flip=member.tta_flip,
            with_maps=with_maps,
        )
        for network in member.networks
    ]


def predict_studies_and_images(
    members: Sequence[TrainedMember],
    studies: Sequence[Study],
    progress: Progress | None = None,
    *,
    images: DecodedImages | None = None,
    features: StudyFeatures | None = None,
    record: ViewRecord | None = None,
) -> tuple[Outputs, Outputs]:
    """Return what trained members say of studies they have never seen, and of their images.

    As for the test split of a run: views aggregated, log, mean over folds, calibration.

    Args:
        members: From `load_trained_members`.
        studies: The studies; their labels are not used.
        progress: Called as `progress(description, completed, total)`.
        images: The studies' radiographs, if they are decoded already; there may be others among them.
        features: From `load_study_features`, for members whose tables have features.
        record: Filled with what else is asked for, view by view.

    Returns:
        The outputs on studies, and on images, study by study.

    Raises:
        UserError: If images cannot be read; the message names them.
    """
    paths = [path for study in studies for path in study.image_paths]
    if images is None:
        images = decode_images(members, paths, progress)
        without_bad_images(studies, images.unreadable, skip=False)
    rows = np.array([images.rows[path] for path in paths])
    study_of_view = np.repeat(np.arange(len(studies)), [len(study.image_paths) for study in studies])
    body_parts = [study.body_part for study in studies]
    part_of_view = [body_parts[study] for study in study_of_view]
    of_studies, of_images, similar = [], [], []
    for index, member in enumerate(members):
        with_maps = record is not None and record.with_maps
        found = _outputs_by_fold(member, images.of_member(member), rows, with_maps=with_maps)
        views, embeddings = ([of.logits for of in found], [of.embeddings for of in found])
        if record is not None:
            for fold, of_fold in enumerate(found):
                record.add(index, fold, of_fold, member)
        studies_by_fold = [
            study_logits(of_fold, study_of_view, len(studies), member.view_aggregation) for of_fold in views
        ]
        images_by_fold = [image_log_probabilities(of_fold) for of_fold in views]
        of_studies.append(member.calibration.apply(np.mean(studies_by_fold, axis=0), body_parts))
        of_images.append(member.calibration.apply(np.mean(images_by_fold, axis=0), part_of_view))
        if features is not None:
            anchors, embedded = features.anchors[member.config.name], np.shape(embeddings)
            if (len(anchors), anchors.shape[2]) != (embedded[0], embedded[-1]):
                raise UserError(
                    f"expected anchors of the networks of {member.config.name!r}, got those of others; copy "
                    "the folder members whole"
                )
            of_folds = [similarities(*pair) for pair in zip(embeddings, anchors, strict=True)]
            similar.append(np.mean(of_folds, axis=0))
        if progress is not None:
            progress("predicting", index + 1, len(members))
    images_columns = studies_columns = None
    if features is not None:
        notes = notes_of(images.of_member(members[0]), rows)
        images_columns = features.columns(np.stack(similar, axis=1), notes)
        studies_columns = mean(images_columns, study_of_view, len(studies))
    names = () if features is None else features.names
    return (
        Outputs(np.stack(of_studies, axis=1).astype(np.float32), studies_columns, names),
        Outputs(np.stack(of_images, axis=1).astype(np.float32), images_columns, names),
    )
