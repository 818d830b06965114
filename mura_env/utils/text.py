"""Text from outside, for people to read: printable and short, whatever a file holds."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_UNSEEN = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
"""Unicode's categories of what is no letter, sign or space: controls, formats, halves of pairs, nothing."""


def printable(text: str) -> str:
    """Return text with escapes in the place of all that is no character to see, but for line breaks.

    Control sequences change what a terminal shows, marks of direction the order of letters, and halves of
    surrogate pairs, as Python holds names of files that are not UTF-8, cannot be encoded.
    """
    return re.sub(r"[^\n -~]", _shown, text)


def _shown(found: re.Match[str]) -> str:
    seen = unicodedata.category(found[0]) not in _UNSEEN
    return found[0] if seen else found[0].encode("unicode_escape").decode()


def shortened(value: Any) -> str:
    """Return what a value looks like, for a message: a file may hold a very long one, or a deeply nested."""
    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxtuple = 2, 20, 20
    short.maxstring = short.maxlong = short.maxother = 200
    return short.repr(value)


def misfit(errors: Sequence[Mapping[str, Any]]) -> str:
    """Say where a document does not fit its model: the outermost of the places that pydantic names."""
    first: Any = min(errors, key=lambda each: (len(each["loc"]), str(each["loc"])))
    *parents, last = steps = [str(step) for step in first["loc"] if not str(step).startswith("<")] or [""]
    place = shortened(".".join(steps))[1:-1]
    if first["type"] == "missing":
        return f"without {last!r}" + (f" in {'.'.join(parents)}" if parents else "")
    if first["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return f"with the unknown field {place}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    words = first["msg"].partition(" should ")[2].partition(" or instance of ")[0]
    return f"with {shortened(first['input'])} where {place or 'it'} should {words or first['msg']}"
