"""Writes synthetic studies in the layout of MURA v1.1."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import joblib
import numpy as np

from base_models.synthetic.study import CASES, Box, draw_study
from mura_env.errors import UserFileExistsError
from mura_env.utils.files import naming
from mura_env.utils.options import SEED, SHARE, Range
from mura_env.utils.workers import end_with_parent

ROOT = "MURA-v1.1"
"""Name of the folder that holds a MURA tree."""
STUDY_SHARES = (0.75, 0.18, 0.07)
"""Share of the patients who have 1, 2 or 3 studies."""
_SAME_PART = 0.4  # chance that a patient's next study shows the same part again
_CHUNK = 16  # patients a worker draws at a time
# films are noisy: looking for repeated bytes costs time and saves nothing
_FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]


@dataclass(frozen=True)
class WrittenStudy:
    """What the CSVs say of one study."""

    folder: str
    """Path from the folder that holds ``MURA-v1.1``, with a slash at its end."""
    label: int
    """0 normal, 1 abnormal."""
    boxes: tuple[Box | None, ...]
    """What the abnormality changes of each of its images."""


def _write_patient(out: Path, split: str, patient: int, seed: int) -> tuple[str, list[WrittenStudy]]:
    """Draw and write one patient's studies; depends on nothing but the arguments."""
    cv2.setNumThreads(1)  # one process per core already
    source = np.random.SeedSequence(seed, spawn_key=(patient,))
    rng = np.random.default_rng(source)
    parts = list(CASES)
    shares = np.array([CASES[part].share for part in parts])
    n_studies = 1 + int(rng.choice(len(STUDY_SHARES), p=STUDY_SHARES))
    part = ""
    taken: dict[str, int] = {}
    written = []
    for number in range(n_studies):
        if not part or rng.random() >= _SAME_PART:
            part = str(rng.choice(parts, p=shares / shares.sum()))
        taken[part] = taken.get(part, 0) + 1
        study = draw_study(part, np.random.SeedSequence(seed, spawn_key=(patient, number)))
        word = "positive" if study.label else "negative"
        folder = f"{ROOT}/{split}/XR_{part}/patient{patient + 1:05d}/study{taken[part]}_{word}/"
        path = out / folder
        path.mkdir(parents=True)
        for view, image in enumerate(study.images, start=1):
            _, png = cv2.imencode(".png", image, _FAST_PNG)
            (path / f"image{view}.png").write_bytes(png.tobytes())  # raises where the disk is full
        written.append(WrittenStudy(folder, study.label, study.boxes))
    return split, written


def _write_tables(out: Path, written: Mapping[str, Sequence[WrittenStudy]]) -> None:
    """Write MURA's four CSVs, without headers, and the boxes; studies in the order of part and patient."""
    boxes = ["path,x_min,y_min,x_max,y_max\n"]
    for split, studies in written.items():
        ordered = sorted(studies, key=lambda study: study.folder)
        labels = [f"{study.folder},{study.label}\n" for study in ordered]
        images = [
            f"{study.folder}image{view}.png\n" for study in ordered for view in range(1, len(study.boxes) + 1)
        ]
        boxes += [
            f"{study.folder.removeprefix(ROOT + '/')}image{view}.png,{','.join(map(str, box))}\n"
            for study in ordered
            for view, box in enumerate(study.boxes, start=1)
            if box
        ]
        (out / ROOT / f"{split}_labeled_studies.csv").write_text("".join(labels), encoding="utf-8")
        (out / ROOT / f"{split}_image_paths.csv").write_text("".join(images), encoding="utf-8")
    (out / ROOT / "boxes.csv").write_text("".join(boxes), encoding="utf-8")


def synthesize(
    out: str | Path,
    n_patients: int,
    seed: int,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    valid_fraction: float = 0.3,
) -> None:
    """Write synthetic radiographs in MURA's layout.

    ``out`` then holds ``MURA-v1.1/`` with the four CSVs, ``boxes.csv`` and, for every study, a folder
    ``{train,valid}/XR_<PART>/patient<id>/study<k>_{positive,negative}/`` of ``image<i>.png``. To the byte,
    the tree depends on the number of patients, the seed and the share of validation patients alone, not on
    the number of processes, one per available core. It is written to a hidden folder, beside ``out`` or in it
    if it exists, and is moved to its place when it is complete.

    Args:
        out: Folder to write to; absent, or empty but for hidden files.
        n_patients: Number of patients in both splits together, at least 2.
        seed: Seed, 0 or greater.
        progress: Called as ``progress(description, completed, total)``, counting patients.
        valid_fraction: Share of the patients who go to the validation split, between 0 and 1.

    Raises:
        FileExistsError: If ``out`` is a file or a folder that is not empty.
        OSError: If a file cannot be written.
        ValueError: If a number is out of its range.
    """
    out = Path(out).absolute()  # `.` has no name of its own
    n_valid = _check(out, n_patients, seed, valid_fraction)
    order = np.random.default_rng(seed).permutation(n_patients)
    valid = {int(patient) for patient in order[:n_valid]}
    patients = [("valid" if patient in valid else "train", patient) for patient in range(n_patients)]
    out.parent.mkdir(parents=True, exist_ok=True)
    # A folder that exists may be the current one, a link or a disk of its own: it stays, and is filled.
    is_there = out.exists()
    written: dict[str, list[WrittenStudy]] = {"train": [], "valid": []}
    with (
        naming(out),
        tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out if is_there else out.parent) as folder,
    ):
        draft = Path(folder) / "tree"
        with joblib.parallel_config(backend="loky", initializer=end_with_parent):
            pool = joblib.Parallel(joblib.cpu_count(), return_as="generator_unordered", batch_size=_CHUNK)
        jobs = (joblib.delayed(_write_patient)(draft, *patient, seed) for patient in patients)
        with closing(pool(jobs)) as drawn:  # an interrupt ends the processes before the folder is removed
            for done, (split, studies) in enumerate(drawn, start=1):
                written[split] += studies
                if progress:
                    progress("drawing radiographs", done, n_patients)
        _write_tables(draft, written)
        if is_there:
            (draft / ROOT).replace(out / ROOT)
        else:
            draft.replace(out)


def _check(out: Path, n_patients: int, seed: int, valid_fraction: float) -> int:
    """Refuse bad arguments; return the number of validation patients."""
    # hidden files stay, such as the lock of a command, or what one that was killed has left
    visible = (child for child in out.iterdir() if not child.name.startswith("."))
    if any(visible) if out.is_dir() else os.path.lexists(out):
        raise UserFileExistsError(
            f"expected an empty or absent folder to write to, got {out}; name another one or remove it first"
        )
    Range("[2, 1000000]").check("n_patients", n_patients, int)  # one to train on, one to validate on
    SEED.check("seed", seed, int)
    SHARE.check("valid_fraction", valid_fraction)
    return min(max(round(n_patients * valid_fraction), 1), n_patients - 1)
