"""Images that cannot be read: named together, and left out only when told to."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from base_models.datasets.study import Study

_NAMED = 100
"""Images that an error names; it counts the others."""


def without_bad_images(
    studies: Sequence[Study], unreadable: Mapping[Path, str], skip: bool
) -> tuple[Study, ...]:
    """Return studies without their unreadable images, and without studies that have no other.

    Args:
        studies: The studies.
        unreadable: Image files that cannot be read, each with the reason, which names the file.
        skip: Whether they may be left out.

    Raises:
        ValueError: If there are any and they may not be left out, or nothing else is left.
    """
    if not unreadable:
        return tuple(studies)
    named = "\n  ".join(list(unreadable.values())[:_NAMED])
    if len(unreadable) > _NAMED:
        named += f"\n  and {len(unreadable) - _NAMED} more, all of which `mura check-data DATA --json` names"
    if not skip:
        raise ValueError(
            f"expected every image to be readable, got {len(unreadable)} that is not; repair the files, or "
            f"leave them out with --skip-bad-images (and --resume, where a run has begun):\n  {named}"
        )
    kept = (
        replace(study, image_paths=tuple(path for path in study.image_paths if path not in unreadable))
        for study in studies
    )
    left = tuple(study for study in kept if study.image_paths)
    if not left:
        raise ValueError(f"expected readable images, got none; repair the files:\n  {named}")
    return left
