"""A plain folder of radiographs, without a table: something to predict from, not to learn from."""

from pathlib import Path

from base_models.datasets.study import Dataset, Study
from base_models.datasets.unlisted import unlisted_files


def read_image_folder(root: Path) -> Dataset | None:
    """Return an index in which each image of a folder is a study, and each folder below with all its images.

    A study is named by its path in the folder. Its body part and its label are not known. Hidden files are
    left out, and in the folder itself files without a suffix.

    Returns:
        The index, or None if there is no image.
    """
    images: dict[str, list[Path]] = {}
    for name in map(Path, unlisted_files(root, ())):
        study = name if name.parent == Path() else name.parent
        images.setdefault(study.as_posix(), []).append(root / name)
    studies = [Study(name, name, "", -1, "test", tuple(images[name])) for name in sorted(images)]
    return Dataset("images", root, (), (), tuple(studies)) if studies else None
