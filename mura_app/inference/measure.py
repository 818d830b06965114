"""What a finished run learns of itself: how far its heat maps point at lesions, what is unlike its images.

The pointing game (Zhang et al., ECCV 2016): a hit is a map whose hottest point lies in an expert's box.
Beside it stand chance and the same networks with random weights, whose maps show what the architecture alone
points at (Adebayo et al., NeurIPS 2018).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from base_models.datasets import Dataset, Study
from base_models.datasets.study import Box, single_images
from base_models.members import TrainedMember, new_network
from base_models.networks.heat_map import is_two_step
from base_models.prediction import view_outputs
from mura_app.inference.ensemble import Ensemble
from mura_app.inference.facts import MEASURED, REFERENCE
from mura_app.inference.heat_maps import HeatMap, candidate_points
from mura_app.inference.sources import decode_views
from mura_app.inference.unlike import LIMIT, TrainingImages, image_features, pixel_columns
from mura_app.prediction import StudyPrediction
from mura_app.run_directory import RunDirectory
from mura_app.schema import HitRate, HitRates, Measured, UnlikeRate
from mura_env.utils.files import read_json, write_json
from mura_env.utils.progress import Progress

MARGINS = (0.0, 0.05)
"""By how much boxes are widened on each side, in shares of the radiograph's longer side."""
_CHUNK = 256
_MOST = 6000
"""Training studies that are looked at: mean and covariance need no more."""


def measure(run: RunDirectory, dataset: Dataset, progress: Progress | None = None) -> Measured:
    """Write `explanations.json` and `reference.safetensors` of a finished run, from its own data."""
    (run.path / REFERENCE).unlink(missing_ok=True)  # an earlier version's would not load
    ensemble = Ensemble.load(run.path)
    skipped = set(read_json(run.training_path, "the record of a training").get("skipped_images", ()))
    train, test = (_readable(dataset.of_split(split), skipped) for split in ("train", "test"))
    folds = read_json(run.training_path, "the record of a training")["folds"]
    ensemble.training_images = images = training_images(ensemble.members, train[:_MOST], folds, progress)
    images.save(run.path / REFERENCE)
    features, study = _features(ensemble.members, (images.member, images.fold), test, progress)
    far = images.percentiles(features)
    marked = len(np.unique(study[far > LIMIT]))
    found = Measured(
        hit_rates=hit_rates(ensemble, dataset, test, progress),
        unlike=UnlikeRate(n_studies=len(test), n_marked=marked),
    )
    write_json(run.path / MEASURED, found.model_dump(mode="json"))
    return found


def _readable(studies: Sequence[Study], skipped: set[str]) -> list[Study]:
    left = (
        replace(study, image_paths=tuple(path for path in study.image_paths if str(path) not in skipped))
        for study in studies
    )
    return [study for study in left if study.image_paths]


def training_images(
    members: Sequence[TrainedMember],
    train: Sequence[Study],
    folds: dict[str, int],
    progress: Progress | None = None,
) -> TrainingImages:
    """Look at training images with the first network that has an embedding; `folds` are by study id."""
    member = next((m for m, each in enumerate(members) if is_two_step(each.networks[0])), -1)
    network = member, 0
    features, study = _features(members, network, train, progress)
    parts = [train[row].body_part for row in study]
    held_out = np.array([folds.get(train[row].study_id) == network[1] for row in study])
    return TrainingImages.fit(features, parts, held_out, study, network)


def _features(
    members: Sequence[TrainedMember],
    of: tuple[int, int],
    studies: Sequence[Study],
    progress: Progress | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return what tells unlike images, (n_images, n_features), and the study of each, (n_images,).

    The embedding is `of` a member's network of a fold; there is none of member -1.
    """
    member = members[max(of[0], 0)]
    paths = [path for study in studies for path in study.image_paths]
    found = []
    for start in range(0, len(paths), _CHUNK):
        chunk = paths[start : start + _CHUNK]
        views = decode_views([member], chunk, [(path, str(path)) for path in chunk], pixel_columns)
        squares, embeddings = views.images.of_member(member), None
        if of[0] >= 0:
            rows, network = np.arange(len(chunk)), member.networks[of[1]]
            size = member.config.image_size
            embeddings = view_outputs(network, squares, rows, size, member.input_format).embeddings
        found.append(image_features(np.array([views.described[path] for path in chunk]), embeddings))
        if progress is not None:
            progress("looking at images", min(start + _CHUNK, len(paths)), len(paths))
    return np.concatenate(found), np.repeat(np.arange(len(studies)), [len(s.image_paths) for s in studies])


def hit_rates(
    ensemble: Ensemble, dataset: Dataset, studies: Sequence[Study], progress: Progress | None = None
) -> HitRates | None:
    """Play the pointing game on the radiographs of some studies that have boxes; None if none has."""
    images = [image for image in single_images(studies) if image.image_paths[0] in dataset.boxes]
    if not images:
        return None
    boxes = [dataset.boxes[image.image_paths[0]] for image in images]
    hits: Counter[tuple[str, str, float]] = Counter()
    chances: dict[float, list[float]] = {margin: [] for margin in MARGINS}
    sizes = []
    for found, of_image in zip(_predicted(ensemble, images, progress), boxes, strict=True):
        any_map = found[-1]
        at = any_map.placement
        sizes += [(b.x_max - b.x_min) * (b.y_max - b.y_min) / (at.width * at.height) for b in of_image]
        points = candidate_points(any_map.square, at)
        for margin in MARGINS:
            wide = [_widened(box, margin * max(at.width, at.height)) for box in of_image]
            chances[margin].append(float(_inside(points, wide).mean()))
            _count(hits, found, wide, margin)
    random_ensemble = Ensemble(
        [_with_random_weights(member) for member in ensemble.members], ensemble.agent, ensemble.facts
    )
    at_random: Counter[tuple[str, str, float]] = Counter()
    for found, of_image in zip(_predicted(random_ensemble, images, progress), boxes, strict=True):
        at = found[-1].placement
        for margin in MARGINS:
            _count(
                at_random, found, [_widened(b, margin * max(at.width, at.height)) for b in of_image], margin
            )
    return HitRates(
        n_images=len(images),
        margins=list(MARGINS),
        chance=[float(np.mean(chances[margin])) for margin in MARGINS],
        median_box=min(1.0, float(np.median(sizes))),
        maps=[
            HitRate(
                name=name,
                kind=kind,
                hits=[hits[name, kind, margin] for margin in MARGINS],
                random_hits=[at_random[name, kind, margin] for margin in MARGINS],
            )
            for name, kind in dict.fromkeys((name, kind) for name, kind, _ in hits)
        ],
    )


def _predicted(
    ensemble: Ensemble, images: Sequence[Study], progress: Progress | None
) -> Iterator[Sequence[HeatMap]]:
    for found in ensemble.predict_studies(images, progress, heat_maps=True):
        assert isinstance(found, StudyPrediction)  # noqa: S101 - unreadable images are left out before
        yield found.heat_maps


def _count(
    hits: Counter[tuple[str, str, float]], maps: Sequence[HeatMap], boxes: Sequence[Box], margin: float
) -> None:
    for each in maps:
        is_hit = bool(_inside(np.array([each.hottest]), boxes)[0])
        hits[each.name, each.kind, margin] += is_hit


def _widened(box: Box, margin: float) -> Box:
    return Box(box.x_min - margin, box.y_min - margin, box.x_max + margin, box.y_max + margin)


def _inside(points: NDArray[np.floating], boxes: Sequence[Box]) -> NDArray[np.bool_]:
    """Say which of some points (n, 2) lie in any box, shape (n,)."""
    x, y = points.T
    hit = [(x >= b.x_min) & (x <= b.x_max) & (y >= b.y_min) & (y <= b.y_max) for b in boxes]
    return np.asarray(np.any(hit, axis=0))


def _with_random_weights(member: TrainedMember) -> TrainedMember:
    """Return a member that has learned nothing: all weights drawn, also where training begins at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = new_network(member.config, len(member.class_names), member.input_format.in_channels)
        for parameter in network.parameters():
            if parameter.ndim > 1 and not parameter.any():
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return replace(member, networks=(network.eval(),))
