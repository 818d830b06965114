"""What a cell of somebody's table means, however the program that wrote it has spelt it."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TextIO

_WHOLE_FLOAT = re.compile(r"(-?[0-9]+)\.0+")


def plain_number(text: str) -> str:
    """Return a whole number without its decimals, as in `12.0` for 12; any other text as it is.

    A spreadsheet or a merge of tables turns numbers into such floats: the two are one identifier.
    """
    found = _WHOLE_FLOAT.fullmatch(text)
    return found[1] if found else text


def spelling(text: str) -> str:
    """Return what names are compared by: neither case nor spaces, decimals of whole numbers or encoding."""
    return plain_number(unicodedata.normalize("NFC", " ".join(text.split())).casefold())


def first_spellings(values: Iterable[str]) -> dict[str, str]:
    """Return each value → the first one of its spelling: `Hand` and `hand` are one body part."""
    first: dict[str, str] = {}
    return {value: first.setdefault(spelling(value), value) for value in dict.fromkeys(values)}


def spelt_twice(first: Mapping[str, str], what: str) -> str:
    """Return the remark that values of several spellings are taken for one; empty where there are none."""
    pairs = [f"{value!r} for {kept!r}" for value, kept in first.items() if value != kept]
    if not pairs:
        return ""
    more = f" and {len(pairs) - 5:,} more" if len(pairs) > 5 else ""
    return f"Different spellings of one {what} are taken for the same: {', '.join(pairs[:5])}{more}."


def delimiter_of(table: TextIO, columns: Collection[str]) -> str:
    """Return what stands between the values of a table: a comma, semicolon or tab, by the columns it finds.

    Spreadsheets of countries with a decimal comma write semicolons.

    Args:
        table: The table, at its beginning, where it is left.
        columns: Columns that its first line should name.
    """
    header = table.readline()
    table.seek(0)

    def found(delimiter: str) -> int:
        return len(set(columns).intersection(cell.strip(' "\r\n') for cell in header.split(delimiter)))

    return max(",;\t", key=found)


def listed(names: Sequence[str]) -> str:
    """Return names for a message, which a table of very many must not flood."""
    shown = [repr(name) for name in names[:10]]
    if len(names) > 10:
        shown.append(f"{len(names) - 10:,} more")
    return " and ".join(shown) if len(shown) == 2 else ", ".join(shown)
