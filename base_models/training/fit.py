"""The fits of an ensemble: each member trained without one fold, and its logits on studies it has not seen.

What one fit depends on (`FitJob`), and how it is trained, resumed and kept (`run_fit`).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from base_models.config import MemberConfig, TrainingConfig
from base_models.data.leakage import learned_from
from base_models.data.lesion_boxes import LesionBoxes
from base_models.data.loader import derive_seed
from base_models.members import (
    forward_flops,
    load_weights,
    meta_network,
    new_network,
    seeded_network,
)
from base_models.networks.input_format import GREY, InputFormat
from base_models.prediction import ViewOutputs, view_outputs
from base_models.storage import load_tensors, read_facts, remove_unfinished, save_tensors
from base_models.study_features import similarities
from base_models.training.checkpoint import (
    EpochState,
    Stopwatch,
    load_epoch,
    remove_checkpoint,
    save_epoch,
)
from base_models.training.device import CPU, DeviceConfig, autocast_precision, torch_threads
from base_models.training.optimization import image_weights
from base_models.training.trainer import fit_network
from base_models.training.validation import FoldImages, Score
from mura_env.errors import UserError


@dataclass(frozen=True)
class FitJob:
    """All that one fit depends on, small enough to be sent to another process."""

    member: MemberConfig
    """The member to train."""
    training: TrainingConfig
    """Its training settings, from `EnsembleConfig.training_of`."""
    fold: int
    """The fold that is held out."""
    seed: int
    """Seed of the ensemble."""
    n_classes: int
    """Number of classes."""
    images: Path
    """Array file of the image cache, shape (n_cached, height, width)."""
    pixels: str
    """Hash of what that file holds."""
    train: FoldImages
    """The images to learn from, and those to validate on."""
    predict_rows: NDArray[np.int64]
    """Rows of the cache to predict: the fold's and the test split's."""
    weights: Path
    """File for the trained weights."""
    anchor_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Rows of the cache that embeddings are compared with; none where the tables get no features."""
    tta_flip: bool = False
    """Whether predictions are averaged over each view and its mirror image."""
    log_folder: Path | None = None
    """Folder for the TensorBoard curves; None writes none."""
    files: tuple[str, ...] = ()
    """Digests of the image files that it learns from, by which they are known again wherever they lie."""
    input_format: InputFormat = GREY
    """What the network takes a radiograph as."""
    own_parts: tuple[int, ...] = ()
    """Body parts that the member is a specialist of, as in `train.body_parts`; empty for a generalist."""
    boxes: LesionBoxes | None = None
    """Boxes that teach the network's lesion map; None where it has none, or only labels teach it."""

    @property
    def checkpoint(self) -> Path:
        """File of the checkpoint, while the fit goes on."""
        return self.weights.with_suffix(".epoch.safetensors")

    @property
    def meta_network(self) -> nn.Module:
        """The network on torch's meta device, where tensors have shapes but no values."""
        return meta_network(self.member, self.n_classes)

    @property
    def cost(self) -> int:
        """Floating-point operations of a forward pass over all training images and epochs."""
        flops = forward_flops(self.meta_network, self.member)
        return flops * len(self.train.rows) * self.member.epochs

    @property
    def fingerprint(self) -> str:
        """Hash of all that the weights depend on; finished weights with another one are not kept."""
        member = replace(self.member, training={})  # `training` holds them all
        training = replace(self.training, loader_processes=0)  # they change no batch
        settings = [asdict(member), asdict(training), self.fold, self.seed, self.n_classes]
        settings.append(asdict(self.input_format))
        hash_ = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        hash_.update(self.pixels.encode())  # wherever they lie, and whenever they were copied there
        train, validation = self.train, self.train.validation
        hash_.update(train.rows.tobytes() + train.labels.tobytes() + train.body_parts.tobytes())
        if validation is not None:
            hash_.update(validation.rows.tobytes() + validation.labels.tobytes())
        if self.own_parts:
            hash_.update(repr(self.own_parts).encode())
        if self.boxes is not None:
            hash_.update(self.boxes.rows.tobytes() + self.boxes.corners.tobytes())
        if self.member.init_weights:
            hash_.update(Path(self.member.init_weights).read_bytes())
        return hash_.hexdigest()

    @property
    def image_weights(self) -> NDArray[np.float32]:
        """Weights of the training images in the loss, shape (n_phases, n_images); phases are equally long.

        A specialist learns from all images alike, then hardly from those of other body parts.
        """
        labels, parts = self.train.labels, self.train.body_parts
        weights = image_weights(labels, parts, self.n_classes, self.training)
        if not self.own_parts:
            return weights[None]
        own = np.isin(parts, self.own_parts)
        later = weights * np.where(own, 1, self.training.other_parts)
        return np.stack([weights, later / later.mean() * weights.mean()]).astype(np.float32)

    @property
    def learned_from(self) -> list[str]:
        """Digests of the images that the weights will have been trained on, pretrained weights' included."""
        before = learned_from(self.member.init_weights) if self.member.init_weights else ()
        return sorted({self.pixels, *self.files, *before} - {""})


@dataclass(frozen=True)
class FitResult:
    """What a fit gives."""

    logits: NDArray[np.float32]
    """Logits of the rows to predict, shape (n_predicted, n_classes)."""
    epoch_losses: list[float]
    """Mean training loss of each epoch."""
    elapsed: Stopwatch
    """Time of the training, also where finished weights are kept."""
    precision: str
    """Precision of the training, by Lightning's name."""
    inner_score: Score | None = None
    """The inner validation of the weights; None where there is none."""
    input_format: InputFormat = GREY
    """What the network takes a radiograph as."""
    similar: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    """Similarities of the predicted images to the anchors, shape (n_predicted, n_anchors)."""
    anchors: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    """Embeddings of the anchors, shape (n_anchors, size of the embedding)."""


def is_finished(job: FitJob) -> bool:
    """Return whether the job's weights are there, whole and trained in just this way."""
    try:
        # the header first: only weights that would be kept are worth reading
        return read_facts(job.weights)["fingerprint"] == job.fingerprint and bool(load_tensors(job.weights))
    except (FileNotFoundError, ValueError, KeyError):
        return False


def run_fit(
    job: FitJob, resume: bool = False, on_epoch: Callable[[], None] | None = None, device: DeviceConfig = CPU
) -> FitResult:
    """Train the job's network, or keep its finished weights, and predict what it has not seen.

    Everything random is a function of (seed, member, fold, epoch, index), so that the result depends neither
    on the process nor on what ran before. An interrupted fit resumes after its last finished epoch and ends
    with the same weights, bit for bit, on the same CPU with the same number of threads. `on_epoch` is called
    when the checkpoint of an epoch is written. Processes that share the fit all get rank 0's result.
    """
    images = np.load(job.images, mmap_mode="r", allow_pickle=False)
    group = device.group
    with torch_threads(job.training.threads_per_fit):
        if group.broadcast(resume and is_finished(job)):  # a network disk may show it to some only
            network = load_weights(new_network(job.member, job.n_classes), job.weights)
        else:
            network = _train(job, images, resume, on_epoch if group.is_global_zero else None, device)
        outputs = ViewOutputs(np.empty((0, job.n_classes), np.float32), np.empty((0, 0), np.float32))
        if group.is_global_zero:
            network.to(device.device)
            size, rows = job.member.image_size, np.concatenate([job.predict_rows, job.anchor_rows])
            outputs = view_outputs(network, images, rows, size, job.input_format, tta_flip=job.tta_flip)
    n = len(job.predict_rows)
    outputs = group.broadcast(outputs)
    logits, embeddings, anchors = outputs.logits[:n], outputs.embeddings[:n], outputs.embeddings[n:]
    facts = read_facts(job.weights)
    if not np.isfinite(logits).all():  # finite weights may still be too large
        raise UserError(
            f"expected member {job.member.name!r} to give finite logits, got others: its training has "
            "diverged; take a lower training.learning_rate, or set training.gradient_clip to 1"
        )
    score = Score(**facts["inner_score"]) if facts["inner_score"] else None
    elapsed = Stopwatch(**facts["elapsed"])
    return FitResult(
        logits,
        facts["epoch_losses"],
        elapsed,
        facts["precision"],
        score,
        job.input_format,
        similarities(embeddings, anchors),
        anchors,
    )


def _train(
    job: FitJob,
    images: NDArray[np.uint8],
    resume: bool,
    on_epoch: Callable[[], None] | None,
    device: DeviceConfig,
) -> nn.Module:
    """Train a network, write its weights and return it."""
    began, group = Stopwatch.now(), device.group
    name, fold = job.member.name, job.fold
    facts = {  # what decides the bits; a checkpoint with others is not resumed from
        "fingerprint": job.fingerprint,
        "precision": autocast_precision(job.training.precision, device.device, job.meta_network),
        "threads": job.training.threads_per_fit,
        "device": device.device.type,
        "processes": group.world_size,
    }
    # what rank 0 finds counts: a network disk may show a file to some only
    start = group.broadcast(load_epoch(job.checkpoint, facts) if resume and group.is_global_zero else None)
    if start is None:
        if group.is_global_zero:
            remove_checkpoint(job.checkpoint)
        network = seeded_network(job.member, job.n_classes, derive_seed(job.seed, name, fold, "weights"))
    else:
        network = new_network(job.member, job.n_classes)

    def end_epoch(state: EpochState) -> None:
        save_epoch(state, job.checkpoint, facts)
        if on_epoch is not None:
            on_epoch()

    history = fit_network(
        network,
        images,
        rows=job.train.rows,
        labels=job.train.labels,
        weights=job.image_weights,
        member=job.member,
        training=job.training,
        seed=derive_seed(job.seed, name, fold, "training"),
        start=start,
        on_epoch=end_epoch if group.is_global_zero else None,
        validation=job.train.validation,
        device=device,
        input_format=job.input_format,
        boxes=job.boxes,
        log_folder=job.log_folder if group.is_global_zero else None,
    )
    elapsed = (start.elapsed if start else Stopwatch()) + Stopwatch.now() - began
    if group.is_global_zero:
        score = asdict(history.inner_score) if history.inner_score else None
        outcome = {"epoch_losses": history.epoch_losses, "elapsed": asdict(elapsed), "inner_score": score}
        origin = {"learned_from": job.learned_from, "input_format": asdict(job.input_format)}
        save_tensors(network.state_dict(), job.weights, {**facts, **outcome, **origin})
        remove_checkpoint(job.checkpoint)
        remove_unfinished(job.weights)
    group.barrier()
    return network
