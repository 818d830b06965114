"""One fit: a member trained without one fold, and its logits on the studies it has not seen."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from base_models.config import MemberConfig, TrainingConfig
from base_models.data.leakage import learned_from
from base_models.members import load_weights, new_network, save_weights, seeded_network
from base_models.networks.input_format import GREY, InputFormat
from base_models.prediction import view_logits
from base_models.seeding import derive_seed
from base_models.storage import load_tensors, read_facts, remove_unfinished
from base_models.training.checkpoint import Elapsed, EpochState, load_shared_epoch, remove_epochs, save_epoch
from base_models.training.device import PROCESSOR, Placement
from base_models.training.flops import empty_network, forward_cost
from base_models.training.losses import image_weights
from base_models.training.trainer import autocast_precision, fit_network
from base_models.training.validation import Score, ValidationImages
from mura_env.errors import UserError


@dataclass(frozen=True)
class FitJob:
    """All that one fit depends on, small enough to be sent to another process."""

    member: MemberConfig
    """The member to train."""
    training: TrainingConfig
    """How it is trained."""
    fold: int
    """The fold it must not see."""
    seed: int
    """Seed of the ensemble."""
    n_classes: int
    """Number of classes."""
    images: Path
    """Array file of the image cache, shape (n_cached, height, width)."""
    pixels: str
    """Hash of what that file holds."""
    train_rows: NDArray[np.int64]
    """Rows of the cache to learn from, shape (n_images,)."""
    train_labels: NDArray[np.int64]
    """Their classes, shape (n_images,)."""
    train_parts: NDArray[np.int64]
    """Their body parts, shape (n_images,)."""
    predict_rows: NDArray[np.int64]
    """Rows of the cache to predict: the fold's and the test split's."""
    weights: Path
    """File that the trained weights go to."""
    validation: ValidationImages | None = None
    """Images of its training folds that it does not learn from; None where it is not validated."""
    mirror: bool = False
    """Whether predictions are averaged over each view and its mirror image."""
    log_folder: Path | None = None
    """Folder for the curves of the training; None writes none."""
    files: tuple[str, ...] = ()
    """Hashes of image files, by which the data set is known again at another size, also parts of it."""
    input_format: InputFormat = GREY
    """What the network takes a radiograph as."""

    @property
    def checkpoint(self) -> Path:
        """File of the state behind the last finished epoch, while the fit goes on."""
        return self.weights.with_suffix(".epoch.safetensors")

    @property
    def cost(self) -> int:
        """Floating-point operations of a forward pass over all training images and epochs."""
        of_image = forward_cost(empty_network(self.member, self.n_classes), self.member)
        return of_image * len(self.train_rows) * self.member.epochs

    @property
    def fingerprint(self) -> str:
        """Hash of all that the weights depend on; finished weights with another one are not taken over."""
        training = replace(self.training, loader_processes=0)  # they change no batch
        settings = [asdict(self.member), asdict(training), self.fold, self.seed, self.n_classes]
        settings.append(asdict(self.input_format))
        hash_ = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        hash_.update(self.pixels.encode())  # wherever they lie, and whenever they were copied there
        hash_.update(self.train_rows.tobytes() + self.train_labels.tobytes() + self.train_parts.tobytes())
        if self.validation is not None:
            hash_.update(self.validation.rows.tobytes() + self.validation.labels.tobytes())
        if self.member.init_weights:
            hash_.update(Path(self.member.init_weights).read_bytes())
        return hash_.hexdigest()

    @property
    def learned_from(self) -> list[str]:
        """Hashes of the pictures that the weights will have learned from, those they begin with included."""
        before = learned_from(self.member.init_weights) if self.member.init_weights else ()
        return sorted({self.pixels, *self.files, *before} - {""})


@dataclass(frozen=True)
class FitResult:
    """What a fit gives."""

    logits: NDArray[np.float32]
    """Logits of the rows to predict, shape (n_predicted, n_classes)."""
    epoch_losses: list[float]
    """Mean training loss of each epoch."""
    elapsed: Elapsed
    """Time the training took, also where finished weights were taken over."""
    precision: str
    """Arithmetic of the training, Lightning's name."""
    inner_score: Score | None = None
    """The inner validation of the weights; None where there is none."""
    input_format: InputFormat = GREY
    """What the network takes a radiograph as."""


def is_finished(job: FitJob) -> bool:
    """Say whether the job's weights are there, whole and trained in just this way."""
    try:
        # the header first: only weights that would be taken over are worth reading
        return read_facts(job.weights)["fingerprint"] == job.fingerprint and bool(load_tensors(job.weights))
    except (FileNotFoundError, ValueError, KeyError):
        return False


def run_fit(
    job: FitJob,
    resume: bool = False,
    on_epoch: Callable[[], None] | None = None,
    placement: Placement = PROCESSOR,
) -> FitResult:
    """Train the job's network, or take its finished weights over, and predict what it has not seen.

    Everything random is a function of (seed, member, fold, epoch, index), so that the result depends
    neither on the process nor on what ran before. An interrupted fit goes on behind its last finished epoch
    and ends with the same weights, bit for bit, on the same processor with the same number of threads.

    Args:
        job: The fit.
        resume: Take finished weights, or finished epochs, over.
        on_epoch: Called after each epoch, also for those that are taken over.
        placement: Where to compute. Processes that share the fit all get the first one's result.

    Raises:
        ValueError: If the training diverges.
    """
    images = np.load(job.images, mmap_mode="r", allow_pickle=False)
    group = placement.group
    on_epoch = on_epoch if group.is_first else None
    with _threads(job.training.threads_per_fit):
        if group.share(resume and is_finished(job)):  # a disk on the network may show it to some only
            network = load_weights(new_network(job.member, job.n_classes), job.weights)
        else:
            network = _train(job, images, resume, on_epoch, placement)
        predicted = np.empty((0, job.n_classes), dtype=np.float32)
        if group.is_first:
            network.to(placement.device)
            size, rows = job.member.image_size, job.predict_rows
            predicted = view_logits(network, images, rows, size, job.input_format, mirror=job.mirror)
    facts, logits = read_facts(job.weights), group.share(predicted)
    if not np.isfinite(logits).all():  # finite weights may still be too large
        raise UserError(
            f"expected member {job.member.name!r} to give finite logits, got others: its training has "
            "diverged; take a lower training.learning_rate, or set training.gradient_clip to 1"
        )
    score = Score(**facts["inner_score"]) if facts.get("inner_score") else None
    elapsed = Elapsed(**facts["elapsed"])
    return FitResult(logits, facts["epoch_losses"], elapsed, facts["precision"], score, job.input_format)


def _train(
    job: FitJob,
    images: NDArray[np.uint8],
    resume: bool,
    on_epoch: Callable[[], None] | None,
    placement: Placement,
) -> nn.Module:
    """Train a network, write its weights and return it as it was written."""
    started = Elapsed.now()
    group = placement.group
    name, fold = job.member.name, job.fold
    # what decides the bits; a checkpoint of anything else is not gone on from
    facts = {
        "fingerprint": job.fingerprint,
        "precision": autocast_precision(job.training.precision, placement.device),
        "threads": job.training.threads_per_fit,
        "device": placement.device.type,
        "processes": group.size,
    }
    start = load_shared_epoch(job.checkpoint, facts, group) if resume else None
    if start is None:
        if group.is_first:
            remove_epochs(job.checkpoint)
        network = seeded_network(job.member, job.n_classes, derive_seed(job.seed, name, fold, "weights"))
    else:
        network = new_network(job.member, job.n_classes)

    def finish_epoch(state: EpochState) -> None:
        save_epoch(state, job.checkpoint, facts)
        if on_epoch is not None:
            on_epoch()

    if on_epoch is not None:
        for _ in range(start.epochs if start else 0):
            on_epoch()
    history = fit_network(
        network,
        images,
        rows=job.train_rows,
        labels=job.train_labels,
        weights=image_weights(job.train_labels, job.train_parts, job.n_classes, job.training),
        member=job.member,
        training=job.training,
        seed=derive_seed(job.seed, name, fold, "training"),
        start=start,
        on_epoch=finish_epoch if group.is_first else None,
        validation=job.validation,
        placement=placement,
        input_format=job.input_format,
        log_folder=job.log_folder if group.is_first else None,
    )
    elapsed = (start.elapsed if start else Elapsed()) + Elapsed.now() - started
    if group.is_first:
        score = asdict(history.inner_score) if history.inner_score else None
        outcome = {"epoch_losses": history.epoch_losses, "elapsed": asdict(elapsed), "inner_score": score}
        origin = {"learned_from": job.learned_from, "input_format": asdict(job.input_format)}
        save_weights(network, job.weights, {**facts, **outcome, **origin})
        remove_epochs(job.checkpoint)
        remove_unfinished(job.weights)
    group.wait()
    return network


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Compute with this many threads: it decides the last bits, so it is kept from fit to fit."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
