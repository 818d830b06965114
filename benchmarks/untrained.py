"""A packed folder of a preset's members whose weights are drawn, not trained: what it says is of no use.

It takes as long to load and to predict as a trained one, and is made in seconds. Agent and thresholds are of
a table of noise; what is unlike is measured from the radiographs of some studies.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from agents import make_agent
from base_models.calibration import Calibration
from base_models.datasets.study import Study
from base_models.members import (
    TrainedMember,
    new_network,
    save_index,
    save_member,
    training_format,
    weights_path,
)
from base_models.presets import PRESETS
from base_models.storage import save_tensors
from mura_app.inference.ensemble import Ensemble
from mura_app.inference.export import preprocessing
from mura_app.inference.facts import FORMAT_VERSION, PACKED, REFERENCE, agent_folder
from mura_app.inference.measure import training_images
from mura_app.inference.pack_files import digest
from mura_app.inference.shown import NOTICE
from mura_app.schema import EnsembleFacts, Pack
from mura_env import Predictions
from mura_env.utils.files import write_json

CLASSES = ("normal", "abnormal")


def untrained_pack(folder: Path, preset: str, studies: Sequence[Study]) -> Path:
    """Write the packed folder of a preset, of which training would have seen some studies; returns it."""
    config = PRESETS[preset]
    calibration = Calibration(1.0, (0.0, 0.0))
    members = []
    for number, member in enumerate(config.members):
        torch.manual_seed(number)
        input_format = training_format(member)
        networks = [new_network(member, 2, input_format.in_channels).eval() for _ in range(config.folds)]
        for fold, network in enumerate(networks):
            save_tensors(network.state_dict(), weights_path(folder, member.name, fold), {})
        members.append(
            TrainedMember(
                member,
                tuple(networks),
                calibration,
                (calibration,) * config.folds,
                CLASSES,
                config.cache_size,
                input_format,
                crop=config.crop,
                tta_flip=config.tta_flip,
            )
        )
        save_member(folder, members[-1], {})
    save_index(folder, [member.name for member in config.members])
    parts = sorted({study.body_part for study in studies})
    rng = np.random.default_rng(0)
    table = Predictions.from_arrays(
        rng.normal(size=(200, len(members), 2)),
        np.arange(200) % 2,
        [parts[row % len(parts)] for row in range(200)],
        model_names=[member.config.name for member in members],
        class_names=CLASSES,
    )
    agent = make_agent("static_per_body_part").fit(table, seed=0)
    facts = EnsembleFacts(
        class_names=list(CLASSES),
        body_part_names=list(table.body_part_names),
        agent="static_per_body_part",
        seed=0,
        threshold=0.5,
        uniform_threshold=0.5,
        measured=None,
    )
    agent.save(agent_folder(folder, facts))
    patients = np.unique([study.patient_id for study in studies], return_inverse=True)[1]
    folds = {study.study_id: int(row) % config.folds for study, row in zip(studies, patients, strict=True)}
    training_images(members, studies, folds).save(folder / REFERENCE)
    document = Pack(
        format_version=FORMAT_VERSION,
        title=f"{preset}, untrained",
        ensemble=facts,
        preprocessing=preprocessing(Ensemble(members, agent, facts)),
        notice=NOTICE,
        data_licence="none",
        sha256={
            path.relative_to(folder).as_posix(): digest(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    )
    write_json(folder / PACKED, document.model_dump(mode="json"))
    return folder
