"""Preflight checks: what could not be finished is refused before an image is decoded or a file written."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache as cached

import numpy as np

from base_models.config import EnsembleConfig, MemberConfig
from base_models.cross_fitting import draw_folds, validating_studies
from base_models.data.hard_examples import refuse_other_split, study_repeats
from base_models.data.leakage import learned_from, refuse_seen_images
from base_models.data.loader import check_shared_batches, derive_seed
from base_models.datasets.study import Dataset, check_dataset
from base_models.distributed import ProcessGroup, launched_group
from base_models.imaging.decoding import file_digests
from base_models.members import forward_flops, meta_network
from base_models.networks.pretrained import fitted_state, pretrained_state_dict, read_state_dict
from base_models.training.device import CPU, autocast_precision, machine_gpus
from mura_env.cells import listed
from mura_env.class_order import normal_class
from mura_env.errors import UserError


def check_training(dataset: Dataset, config: EnsembleConfig, *, seed: int = 0, resume: bool = False) -> None:
    """Refuse a training that could not be finished, as far as it can be known beforehand.

    Args:
        dataset: From `open_dataset`.
        config: The ensemble.
        seed: Seed of the folds.
        resume: Finished fits are kept, so that pretrained weights need not be there any more.

    Raises:
        UserError: If the data set, a network at its size, pretrained weights, the number of folds, GPUs or
            processes, the precision or the run with the hard examples cannot be used, or batches cannot be
            shared; the message says what to do.
        UserFileNotFoundError: If pretrained weights or the run with the hard examples are not there.
        UserFileError: If pretrained weights cannot be downloaded.
    """
    check_dataset(dataset)
    if config.view_aggregation != "mean" and normal_class(dataset.class_names) is None:
        raise UserError(
            f"expected a normal class for the view aggregation {config.view_aggregation!r}, got "
            f"{listed(dataset.class_names)}; take --ensemble.view-aggregation mean, or name it in the labels"
        )
    _check_specialists(config.members, dataset.body_part_names)
    gpus, group = machine_gpus(config.devices), launched_group()
    trainings = [config.training_of(member) for member in config.members]
    if not gpus:
        for training in trainings:
            autocast_precision(training.precision, CPU.device)
    _check_processes(config, len(gpus), group)
    train = dataset.of_split("train")
    repeats = np.ones(len(train), dtype=np.int64)
    if config.hard_examples:
        repeats = study_repeats(train, config.hard_examples, config.oversample)
    n_images = repeats * [len(study.image_paths) for study in train]
    folds = draw_folds(train, config.folds, seed)
    for share, batch_size in sorted({(t.inner_validation, t.batch_size) for t in trainings}):
        for fold in range(config.folds):  # drawn as the training draws them
            outside, fold_seed = folds != fold, derive_seed(seed, "fold", fold)
            learned = outside & ~validating_studies(train, outside, share, fold_seed)
            if group.world_size > 1 and config.parallelism == "ddp":
                check_shared_batches(int(n_images[learned].sum()), batch_size, group)
    _check_networks(config.members, len(dataset.class_names), download=not resume)
    if config.hard_examples:
        refuse_other_split(dataset.of_split("test"), config.hard_examples)
    if any(member.init_weights and learned_from(member.init_weights) for member in config.members):
        paths = [path for study in dataset.studies for path in study.image_paths]
        refuse_seen_images(config.members, file_digests(paths).values())


def _check_specialists(members: Sequence[MemberConfig], body_part_names: Sequence[str]) -> None:
    """Refuse specialists of body parts that the data set does not have."""
    for member in members:
        if unknown := sorted(set(member.body_parts) - set(body_part_names)):
            raise UserError(
                f"expected the specialist {member.name!r} to be of body parts of the data set "
                f"({', '.join(body_part_names)}), got {', '.join(map(repr, unknown))}"
            )


def _check_processes(config: EnsembleConfig, n_gpus: int, group: ProcessGroup) -> None:
    """Refuse processes of torchrun that the machines, or their GPUs, cannot share the work evenly between."""
    if group.world_size % group.local_world_size:
        raise UserError(
            f"expected the same number of processes on every machine, got {group.local_world_size} on this "
            f"one of {group.world_size} in all; give each torchrun the same --nproc-per-node"
        )
    if config.parallelism == "ddp" and group.world_size > 1 and 0 < n_gpus < group.local_world_size:
        raise UserError(
            f"expected a GPU for each process that shares batches, got {n_gpus} for {group.local_world_size} "
            f"of a machine; give torchrun --nproc-per-node {n_gpus}, or leave --ensemble.parallelism or "
            "--ensemble.devices out"
        )


def _check_networks(members: Sequence[MemberConfig], n_classes: int, *, download: bool) -> None:
    """Create each network once on the meta device, run an image through it and fit its pretrained weights."""
    read = cached(read_state_dict)
    checked: list[MemberConfig] = []
    for member in members:
        alike = replace(member, name="any", epochs=1, training={})
        if alike in checked:
            continue
        checked.append(alike)
        network = meta_network(member, n_classes)
        forward_flops(network, member)
        if member.init_weights:
            fitted_state(network, read(member.init_weights), member.init_weights)
        elif member.pretrained and download:
            fitted_state(network, pretrained_state_dict(network), "its published weights")
