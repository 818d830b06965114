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
from torch import Tensor, nn

from base_models.datasets.study import Study, without_bad_images
from base_models.imaging.decoding import SquareFormat, each_image, resize
from base_models.imaging.reader import ImageError, decode, read_file
from base_models.members import TrainedMember
from base_models.networks.heat_map import forward_with_map, is_two_step
from base_models.networks.input_format import GREY, InputFormat
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


@dataclass
class ViewRecord:
    """What else members see in the views that they predict; filled where it is asked for.

    Networks that cannot tell it leave it empty, see `base_models.networks.heat_map.is_two_step`.
    """

    embedding_of: tuple[int, int] | None = None
    """Member and fold of the network whose embedding is asked for."""
    with_maps: bool = False
    """Whether heat maps are asked for."""
    embeddings: NDArray[np.float32] | None = None
    """Mean of that network's last features, shape (n_views, n_channels)."""
    heat_maps: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """By member, shape (n_views, n_classes - 1, h, w): its folds' mean, in calibrated logits."""
    attention: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """By member that has one, shape (n_views, 1, h, w): its folds' mean, from 0 to 1."""

    def watch(self, member: int, fold: int, trained: TrainedMember) -> "_Watch | None":
        """Return what a network is to be watched with, if anything is asked of it."""
        is_asked = self.with_maps or self.embedding_of == (member, fold)
        return _Watch([], [], []) if is_asked and is_two_step(trained.networks[fold]) else None

    def add(self, member: int, fold: int, seen: "_Watch", trained: TrainedMember) -> None:
        """Take what a network has seen in all views."""
        if self.embedding_of == (member, fold):
            self.embeddings = np.concatenate(seen.embeddings)
        if self.with_maps:
            n_folds, temperature = (
                np.float32(len(trained.networks)),
                np.float32(trained.calibration.temperature),
            )
            own = np.concatenate(seen.heat_maps) / (n_folds * temperature)
            self.heat_maps[member] = self.heat_maps.get(member, np.float32(0)) + own
            if seen.attention:
                own = np.concatenate(seen.attention) / n_folds
                self.attention[member] = self.attention.get(member, np.float32(0)) + own


@dataclass
class _Watch:
    """What a network sees, batch by batch."""

    embeddings: list[NDArray[np.float32]]
    heat_maps: list[NDArray[np.float32]]
    attention: list[NDArray[np.float32]]

    def __call__(self, embedding: Tensor, heat_map: Tensor, attention: Tensor | None, /) -> None:
        self.embeddings.append(embedding.float().cpu().numpy())
        self.heat_maps.append(heat_map.float().cpu().numpy())
        if attention is not None:
            self.attention.append(attention.float().cpu().numpy())


BATCH_SIZE = 64


@torch.no_grad()
def view_logits(
    network: nn.Module,
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    size: int,
    input_format: InputFormat = GREY,
    *,
    tta_flip: bool = False,
    looked_at: Callable[[Tensor, Tensor, Tensor | None], None] | None = None,
) -> NDArray[np.float32]:
    """Return a network's logits (n_images, n_classes) on rows of the image cache, computed on its device.

    In single precision; a GPU may round the factors of convolutions to TF32, as torch does by default.

    Args:
        network: In evaluation mode.
        images: The image cache, shape (n_cached, height, width), dtype uint8.
        rows: Rows to predict, shape (n_images,).
        size: Side of the network's input in pixels.
        input_format: What the network takes a radiograph as.
        tta_flip: Return the log of the mean probability of each image and its mirror image instead.
        looked_at: Called batch by batch with embedding, heat map and attention of the images, not mirrored,
            see `base_models.networks.heat_map.forward_with_map`.
    """
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = np.stack([resize(images[row], size) for row in rows[start : start + BATCH_SIZE]])
        planes = input_format.planes(torch.from_numpy(batch).to(device))
        if looked_at is None:
            logits = network(planes).float()
        else:
            logits, embedding, heat_map, attention = forward_with_map(network, planes)
            looked_at(embedding, heat_map, attention)
        if tta_flip:
            both = torch.stack([logits, network(planes.flip(dims=[3])).float()])
            logits = torch.logsumexp(torch.log_softmax(both, dim=2), dim=0) - math.log(2)
        parts.append(logits.cpu().numpy())
    return np.concatenate(parts)


SMALLEST_PROBABILITY = 1e-7

Floats = NDArray[np.float64]


def mean(probabilities: Floats, study: NDArray[np.int64], n_studies: int) -> Floats:
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


def predict_studies(
    members: Sequence[TrainedMember], studies: Sequence[Study], progress: Progress | None = None
) -> NDArray[np.float32]:
    """Return the first of what `predict_studies_and_images` gives, shape (n_studies, n_models, n_classes)."""
    return predict_studies_and_images(members, studies, progress)[0]


def predict_studies_and_images(
    members: Sequence[TrainedMember],
    studies: Sequence[Study],
    progress: Progress | None = None,
    *,
    images: DecodedImages | None = None,
    record: ViewRecord | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the calibrated logits of trained members on studies they have never seen, and on their images.

    As for the test split of a run: views aggregated, log, mean over folds, calibration.

    Args:
        members: From `load_trained_members`.
        studies: The studies; their labels are not used.
        progress: Called as `progress(description, completed, total)`.
        images: The studies' radiographs, if they are decoded already; there may be others among them.
        record: Filled with what else is asked for, view by view.

    Returns:
        Shapes (n_studies, n_models, n_classes) and (n_images, n_models, n_classes), study by study.

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
    of_studies, of_images = [], []
    for index, member in enumerate(members):
        squares, size = images.of_member(member), member.config.image_size
        views = []
        for fold, network in enumerate(member.networks):
            seen = None if record is None else record.watch(index, fold, member)
            flip = member.tta_flip
            of_fold = view_logits(
                network, squares, rows, size, member.input_format, tta_flip=flip, looked_at=seen
            )
            views.append(of_fold)
            if record is not None and seen is not None:
                record.add(index, fold, seen, member)
        studies_by_fold = [
            study_logits(of_fold, study_of_view, len(studies), member.view_aggregation) for of_fold in views
        ]
        images_by_fold = [image_log_probabilities(of_fold) for of_fold in views]
        of_studies.append(member.calibration.apply(np.mean(studies_by_fold, axis=0), body_parts))
        of_images.append(member.calibration.apply(np.mean(images_by_fold, axis=0), part_of_view))
        if progress is not None:
            progress("predicting", index + 1, len(members))
    return np.stack(of_studies, axis=1).astype(np.float32), np.stack(of_images, axis=1).astype(np.float32)
