"""Which of several classes is the normal and which the positive one: their names say it, not their position.

Used wherever a table or a data set comes in. Of two classes the normal one becomes class 0, the positive one
class 1; of more, the only one that says normal becomes class 0, and none is positive.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mura_env.cells import listed, plain_number, spelling
from mura_env.errors import UserError

# Whole words in English, German, French and Spanish, in lower case and without accents.
_NORMAL = re.compile(
    r"normale?s?|negati(ve?|f|v[oa])|neg|healthy|gesund|saine?|san[oa]|unremarkable|unauffa?ellig|unauffallig"
    r"|inta(cte?|kt|ct[oa])|heil"
)
_ABNORMAL = re.compile(
    r"abnormal|anormale?|positi(ve?|f|v[oa])|pos|pathologic(al)?|diseased|sick|krank|malade|enferm[oa]"
    r"|auffa?ellig|auffallig|broken|gebrochen"
)
_NORMAL_OF_TWO = re.compile(
    r"benigne?|benin|benign[oa]|gutartig|absente?|ausente|uninjured|unverletzt|iles[oa]"
)
"""What says normal beside one other class: of normal, benign and malignant, benign is a finding."""
_ALONE = re.compile(r"none?|no|nein|neither|keiner?|kein|aucune?|ningun[oa]|false|falsch|faux|falso")
"""What says normal if it is the whole name."""
_NEGATION = re.compile(r"no|non|not|without|kein(e[nr]?)?|ohne|nicht|sans|pas|aucune?|sin|ningun[oa]?")
_UNION = re.compile(r"union|healing")
"""What a negation turns into a finding, as it does normal: a non-union is a fracture that has not healed."""


class ClassOrder(NamedTuple):
    """How classes are put in order."""

    positions: tuple[int, ...]
    """Positions among the names given: the normal class first and, of two, the positive one last."""
    question: str = ""
    """Asks which of two classes is positive, where their names leave it open."""
    remark: str = ""
    """What a reader should know of the order."""

    @property
    def is_given(self) -> bool:
        """Whether the classes came in this order."""
        return self.positions == tuple(range(len(self.positions)))


def class_order(names: Sequence[str], positive: str | None = None) -> ClassOrder:
    """Put classes in order: two with the positive one last, more with the one that says normal first.

    Args:
        names: Names of the classes, as they came.
        positive: The positive one of two classes, where the user has said which.

    Raises:
        ValueError: If `positive` is none of the classes, there are more than two, or names contradict it.
    """
    normal = _only_normal(names)
    first = normal_first(names)
    if positive is not None:
        last = positions_of(names).get(spelling(positive))
        if last is None or len(names) > 2:
            wanted = "two classes" if len(names) > 2 else "one of the classes"
            raise UserError(
                f"expected {wanted} for positive {positive!r}, got {listed(names)}; change --positive"
            )
        chosen = (*(i for i in range(len(names)) if i != last), last)
        if normal is not None and chosen != first:
            raise UserError(
                f"expected {names[first[1]]!r} as the positive one of {listed(names)}, as the names say, got "
                f"{positive!r}; rename the classes, or leave --positive out"
            )
        return ClassOrder(chosen)
    if normal is not None or len(names) != 2:
        return ClassOrder(first)
    if all(spelling(name).isdecimal() for name in names):
        ascending = sorted(range(2), key=lambda i: int(spelling(names[i])))
        return ClassOrder(
            tuple(ascending),
            remark=f"Of the classes {listed(names)} the greater number is taken for the positive one; "
            f"--positive {names[ascending[0]]} says otherwise.",
        )
    return ClassOrder(
        first,
        question=f"expected class names that say which one is positive, got {listed(names)}; answer with "
        f"--positive {names[1]} or --positive {names[0]} (in Python positive={names[1]!r} or {names[0]!r})",
    )


def normal_first(names: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of classes, the only one that says normal first; as they came where none is."""
    normal = _only_normal(names)
    others = (i for i in range(len(names)) if i != normal)
    return tuple(others) if normal is None else (normal, *others)


def positive_class(names: Sequence[str]) -> str | None:
    """Return the positive one of classes in order: the last of two; None of more."""
    return names[1] if len(names) == 2 else None


def positive_words(names: Sequence[str]) -> str:
    """Return which of classes in order is positive, in words."""
    positive = positive_class(names)
    return f"none of {len(names)} classes is positive" if positive is None else f"positive class: {positive}"


def normal_class(names: Sequence[str]) -> int | None:
    """Return the normal one of classes in order: 0; None where there are more than two and none says so."""
    return 0 if len(names) <= 2 or _only_normal(names) == 0 else None


def positions_of(names: Iterable[str]) -> Mapping[str, int]:
    """Return the position of each class by what its name is compared by; see `spelling`."""
    return {spelling(name): position for position, name in enumerate(names)}


def require_distinct(names: Sequence[str]) -> None:
    """Refuse names of classes that differ in their spelling alone.

    Raises:
        ValueError: Names two of them.
    """
    first: dict[str, str] = {}
    for name in names:
        if (other := first.setdefault(spelling(name), name)) != name:
            raise UserError(
                f"expected class names that differ in more than spelling, got {other!r} and {name!r}"
            )


def says_normal(names: Sequence[str]) -> list[bool]:
    """Tell of each class whether its name says that it is the normal one.

    `non-displaced fracture` says so only beside `displaced fracture`.
    """
    all_words = {tuple(_words(name)) for name in names}
    return [_says_normal(name, all_words, len(names)) for name in names]


def _only_normal(names: Sequence[str]) -> int | None:
    """Return the position of the only name that says normal; None where none or several do."""
    says = says_normal(names)
    return says.index(True) if says.count(True) == 1 and len(names) > 1 else None


def _says_normal(name: str, all_words: set[tuple[str, ...]], n_classes: int) -> bool:
    words = _words(name)
    if re.fullmatch(r"(class[-_ ]?)?0+", spelling(name)) or (len(words) == 1 and _ALONE.fullmatch(words[0])):
        return True
    negation = next((i for i, word in enumerate(words) if _NEGATION.fullmatch(word)), None)
    if negation is not None:
        denied = words[negation + 1 :]
        if (
            negation
            or not denied
            or any(_NORMAL.fullmatch(word) or _UNION.fullmatch(word) for word in denied)
        ):
            return False
        return words[0] != "non" or tuple(denied) in all_words
    rules = (_NORMAL, _NORMAL_OF_TWO) if n_classes == 2 else (_NORMAL,)
    well = any(rule.fullmatch(word) for rule in rules for word in words)
    return well and not any(_ABNORMAL.fullmatch(word) for word in words)


def _words(name: str) -> list[str]:
    """Split a name into words in lower case, without accents."""
    plain = unicodedata.normalize("NFKD", plain_number(name.strip()).casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return [word for word in re.split(r"[\W_]+", plain) if word]
