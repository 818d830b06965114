"""Files below a data set's folder that belong to no study: whoever expected them to be read should know."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from base_models.imaging.dicom import SUFFIXES, suffix_of


def unlisted_files(root: Path, paths: Iterable[Path]) -> list[str]:
    """Return the files below a data set's folder that look like radiographs and belong to no study.

    These are files with a suffix of any kind that can be decoded, files without a suffix (as DICOM's often
    are) in a folder below the data set's, and whatever else lies beside a study's images there. Hidden files
    and folders are a file system's own. Links to elsewhere are followed, once each, and a file that is listed
    under another of its names is listed.

    Args:
        root: The data set's folder.
        paths: The image files of all its studies.

    Returns:
        Paths relative to the folder, sorted; bytes of a name that are not UTF-8 escaped.
    """
    top = os.path.realpath(root)
    walked = list(_walk(top))
    listed = _by_walked_names(paths, root, top, {directory for directory, _ in walked})
    beside = {os.path.dirname(path) for path in listed}  # noqa: PTH120  # 40,000 of them
    suffixes = _image_suffixes()
    found = []
    for directory, names in walked:
        everything = directory != top and directory in beside
        for name in names:
            suffix = suffix_of(name)
            if everything or suffix in suffixes or (not suffix and directory != top):
                path = os.path.join(directory, name)  # noqa: PTH118
                if path not in listed:
                    found.append(path)
    return sorted(
        os.fsencode(os.path.relpath(path, top)).decode(errors="backslashreplace")
        for path in _without_other_names(found, listed)
    )


def _by_walked_names(paths: Iterable[Path], root: Path, top: str, walked: set[str]) -> set[str]:
    """Return the names that a walk gives to listed files; only folders that it did not pass are looked at.

    A table may name files from the root of the file system, or through a link to one of its own folders.
    """
    start = os.path.abspath(root)  # noqa: PTH100  # links are not resolved: names are compared
    folders: dict[str, str] = {}
    names = set()
    for path in paths:
        folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100
        if folder not in folders:
            below = folder == start or folder.startswith(start + os.sep)
            expected = top + folder[len(start) :] if below else folder
            folders[folder] = expected if expected in walked else os.path.realpath(folder)
        names.add(os.path.join(folders[folder], name))  # noqa: PTH118
    return names


def _without_other_names(found: list[str], listed: set[str]) -> list[str]:
    """Leave out the files that are listed under another name, through links to single files."""
    if not found:
        return []  # as of any ordinary data set: not one image is looked at
    real = listed | {os.path.realpath(path) for path in listed if os.path.islink(path)}  # noqa: PTH114
    return [path for path in found if os.path.realpath(path) not in real]


def _image_suffixes() -> set[str]:
    """Return the suffixes of all kinds of images that can be decoded."""
    known = Image.registered_extensions()
    return {suffix for suffix, kind in known.items() if kind in Image.OPEN} | {*SUFFIXES, ".ima"}


def _walk(top: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder with its files, without hidden ones; links to elsewhere are followed once."""
    followed = {os.path.realpath(top)}
    for directory, below, names in os.walk(top, followlinks=True):
        below[:] = [
            name
            for name in below
            if not name.startswith(".") and _is_new(os.path.join(directory, name), followed)  # noqa: PTH118
        ]
        yield directory, [name for name in names if not name.startswith(".")]


def _is_new(directory: str, followed: set[str]) -> bool:
    """Say whether a folder is no link, or one to a place not yet walked; a link back would have no end."""
    if not os.path.islink(directory):  # noqa: PTH114
        return True
    target = Path(os.path.realpath(directory))
    if any(target.is_relative_to(one) or Path(one).is_relative_to(target) for one in followed):
        return False
    followed.add(str(target))
    return True
