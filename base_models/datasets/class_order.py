"""Which of several named classes is the normal one: class 0 of maximum, noisy-or and every report."""

import re
from collections.abc import Collection

_NORMAL = {"normal", "negative", "healthy", "unremarkable"}
_ABNORMAL = {"abnormal", "positive", "pathologic", "pathological", "diseased"}
_ALONE = {"no": True, "none": True, "false": True, "yes": False, "true": False}
"""What decides only if it is the whole name: a `true lateral` is a projection."""
_NEGATIONS = {"no", "non", "not", "without"}
_WELL = _NORMAL | {"union", "healing"}
"""What a negation turns into a finding: a non-union is a fracture that has not healed."""


def order_classes(names: Collection[str]) -> tuple[list[str], bool]:
    """Put the normal class before the others, which are sorted.

    A class is the normal one if its name alone says so. Without such a name, it may be the only one that does
    not say abnormal; else `normal` or `negative` come first, or what the alphabet puts there.

    Returns:
        The names in order, and whether the first one says that it is the normal one, alone.
    """
    says = {name: says_normal(name, names) for name in names}
    normal = [name for name in names if says[name]]
    candidates = normal or [name for name in names if says[name] is None]
    if len(candidates) == 1:
        return sorted(names, key=lambda name: (name != candidates[0], name)), bool(normal)
    return sorted(names, key=lambda name: (name.lower() not in {"normal", "negative"}, name)), False


def says_normal(name: str, names: Collection[str]) -> bool | None:
    """Return whether a class's name says normal (True) or abnormal (False), or neither (None).

    Args:
        name: The class's name.
        names: Those of all classes: `non-displaced fracture` says normal only beside `displaced fracture`.
    """
    words = _words(name)
    if len(words) == 1 and words[0] in _ALONE:
        return _ALONE[words[0]]
    if re.fullmatch(r"0+(\.0*)?", name):
        return True
    if negation := next((word for word in words if word in _NEGATIONS), None):
        before, denied = words[: words.index(negation)], words[words.index(negation) + 1 :]
        if _WELL.intersection(denied):
            return False
        is_clear = denied in map(_words, names) if negation == "non" else not before
        return True if is_clear else None
    well, ill = bool(_NORMAL.intersection(words)), bool(_ABNORMAL.intersection(words))
    return None if well == ill else well


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", name.lower()) if word]
