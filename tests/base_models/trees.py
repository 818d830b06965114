"""Tiny data sets on disk, in the exact layouts of the real ones."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PARTS = ("XR_ELBOW", "XR_WRIST")
FRACATLAS_COLUMNS = (
    "image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,fracture_count,frontal,lateral,oblique"
)


def picture(seed: int, label: int = 0, shape: tuple[int, int] = (40, 30)) -> NDArray[np.uint8]:
    """A smooth random picture; those of class 1 have a bright square in the middle."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 120, (6, 5)).astype(np.uint8)
    image = np.array(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BILINEAR))
    if label:
        image[shape[0] // 3 : 2 * shape[0] // 3, shape[1] // 3 : 2 * shape[1] // 3] = 230
    return image


def encoded(image: NDArray[Any] | Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of an image file, of one of Pillow's kinds."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def save_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_mura(
    root: Path,
    patients: Mapping[str, int] | None = None,
    csvs: bool = True,
    parts: tuple[str, ...] = PARTS,
    *,
    first: int = 1,
) -> Path:
    """Write a tree of MURA: each patient has two studies of one or two views; every second is positive.

    Patients are counted from the first, and each number has pictures of its own.
    """
    number = first - 1
    for split, n_patients in (patients or {"train": 8, "valid": 6}).items():
        images, studies = [], []
        for _ in range(n_patients):
            number += 1
            for k in (1, 2):
                label = (number + k) % 2
                part = parts[(number // 2 + k) % len(parts)]
                sign = ("negative", "positive")[label]
                folder = f"{split}/{part}/patient{number:05d}/study{k}_{sign}"
                studies.append(f"MURA-v1.1/{folder}/,{label}")
                for view in range(1, 2 + (number + k) % 2):
                    images.append(f"MURA-v1.1/{folder}/image{view}.png")
                    save_picture(
                        root / folder / f"image{view}.png", picture(100 * number + 10 * k + view, label)
                    )
        if csvs:
            (root / f"{split}_image_paths.csv").write_text("\n".join(images) + "\n")
            (root / f"{split}_labeled_studies.csv").write_text("\n".join(studies) + "\n")
    return root


def fracatlas_row(number: int, region: str, label: int, frontal: int = 1) -> str:
    flags = ",".join(str(int(name in region)) for name in ("hand", "leg", "hip", "shoulder"))
    mixed = int("+" in region)
    return f"IMG{number:07d}.jpg,{flags},{mixed},0,0,{label},{label},{frontal},{1 - frontal},0"


def write_fracatlas(root: Path, n_images: int = 24) -> Path:
    """Write a tree of FracAtlas: numbers with gaps, so that each image is a patient of its own."""
    rows = [FRACATLAS_COLUMNS]
    for index in range(n_images):
        label, region = int(index % 3 == 0), ("hand", "leg")[index // 3 % 2]
        rows.append(fracatlas_row(2 * index, region, label, frontal=index % 2))
        folder = ("Non_fractured", "Fractured")[label]
        save_picture(root / "images" / folder / f"IMG{2 * index:07d}.jpg", picture(index, label, (64, 48)))
    (root / "dataset.csv").write_text("\n".join(rows) + "\n")
    return root
