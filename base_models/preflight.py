"""What of a training can be refused before a radiograph is decoded or a file is written."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from base_models.config import EnsembleConfig, MemberConfig
from base_models.cross_fitting import draw_folds, validating_studies
from base_models.data.hard_examples import refuse_other_split, study_repeats
from base_models.data.leakage import files_sketch, refuse_seen_images
from base_models.data.loader import check_shared_batches
from base_models.datasets.study import Dataset, Study, check_dataset
from base_models.distributed import ProcessGroup, launched_group
from base_models.networks.pretrained import fitted_state, pretrained_state_dict, read_state_dict
from base_models.seeding import derive_seed
from base_models.training.device import PROCESSOR, machine_gpus
from base_models.training.flops import empty_network, forward_cost
from base_models.training.trainer import autocast_precision
from mura_env.errors import UserError


def check_training(dataset: Dataset, config: EnsembleConfig, *, seed: int = 0, resume: bool = False) -> None:
    """Refuse a training that could not be finished, as far as it can be known beforehand.

    Args:
        dataset: From `open_dataset`.
        config: The ensemble.
        seed: Seed of the folds.
        resume: Finished fits are taken over, so that pretrained weights need not be there any more.

    Raises:
        ValueError: If the data set, a network at its size, initial weights, the number of folds, GPUs or
            processes, the arithmetic or the run with the hard studies cannot be used, or batches cannot be
            shared; the message says what to do.
        FileNotFoundError: If initial weights or the run with the hard studies are not there.
        ConnectionError: If pretrained weights cannot be downloaded.
    """
    check_dataset(dataset)
    gpus, group = machine_gpus(config.devices), launched_group()
    if not gpus:
        autocast_precision(config.training.precision, PROCESSOR.device)
    _check_processes(config, len(gpus), group)
    train = dataset.of_split("train")
    repeats = np.ones(len(train), dtype=np.int64)
    if config.hard_studies:
        repeats = study_repeats(train, config.hard_studies, config.oversample)
    n_images = repeats * [len(study.image_paths) for study in train]
    fewest = min(int(n_images[learned].sum()) for learned in _learned_studies(train, config, seed))
    if group.size > 1 and config.spread == "batches":
        check_shared_batches(fewest, config.training.batch_size, group)
    _check_networks(config.members, len(dataset.class_names), download=not resume)
    _check_leaks(dataset, config)


def _check_processes(config: EnsembleConfig, n_gpus: int, group: ProcessGroup) -> None:
    """Refuse processes of torchrun that the machines, or their GPUs, cannot share the work evenly between."""
    if group.size % group.local_size:
        raise UserError(
            f"expected the same number of processes on every machine, got {group.local_size} on this one of "
            f"{group.size} in all; give each torchrun the same --nproc-per-node"
        )
    if config.spread == "batches" and group.size > 1 and 0 < n_gpus < group.local_size:
        raise UserError(
            f"expected a GPU for each process that shares batches, got {n_gpus} for {group.local_size} of a "
            f"machine; give torchrun --nproc-per-node {n_gpus}, or leave --ensemble.spread or "
            "--ensemble.devices out"
        )


def _learned_studies(train: Sequence[Study], config: EnsembleConfig, seed: int) -> list[NDArray[np.bool_]]:
    """Return which studies the fits without each fold learn from, drawn as `cross_fit` draws them."""
    folds = draw_folds(train, config.folds, seed)
    share = config.training.inner_validation
    return [
        (folds != fold) & ~validating_studies(train, folds != fold, share, derive_seed(seed, "fold", fold))
        for fold in range(config.folds)
    ]


def _check_networks(members: Sequence[MemberConfig], n_classes: int, *, download: bool) -> None:
    """Create each network once, without values, send an image through and fit its initial weights to it."""
    read = cache(read_state_dict)
    checked: list[MemberConfig] = []
    for member in members:
        alike = replace(member, name="any", epochs=1)
        if alike in checked:
            continue
        checked.append(alike)
        network = empty_network(member, n_classes)
        forward_cost(network, member)
        if member.init_weights:
            fitted_state(network, read(member.init_weights), member.init_weights)
        elif member.pretrained and download:
            fitted_state(network, pretrained_state_dict(network), "torchvision's download")


def _check_leaks(dataset: Dataset, config: EnsembleConfig) -> None:
    """Refuse an earlier run, or initial weights, that learned from studies that this training holds out."""
    if config.hard_studies:
        refuse_other_split(dataset.of_split("test"), config.hard_studies)
    if any(member.init_weights for member in config.members):
        paths = (path for study in dataset.studies for path in study.image_paths)
        refuse_seen_images(config.members, files_sketch(paths, dataset.root))
