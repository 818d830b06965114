"""DICOM values to 8-bit grey: modality, table or window of interest, and which of both ends is black."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.imaging.dicom_bits import padding
from base_models.imaging.greys import blocks_of_rows, by_rows
from mura_env.errors import UserError

_DEFAULTS = {"RescaleSlope": 1, "RescaleIntercept": 0, "VOILUTFunction": "LINEAR"}
_SIGNED = 2**16
"""What a 16-bit number loses if it is meant to be signed."""

Rule = Callable[[NDArray[Any]], NDArray[Any]]
"""Turns single values into others."""


@dataclass(frozen=True)
class LookUpTable:
    """A look-up table of a DICOM file (PS3.3 C.11.1.1)."""

    entries: NDArray[np.int64]
    """What stands for each value from `first` on, shape (n_entries,)."""
    first: int
    """The value that the first entry stands for; those outside have the nearest entry."""
    bits: int
    """Depth of the entries."""

    def __call__(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Look values up."""
        places = np.rint(values).astype(np.int64) - self.first
        return np.asarray(self.entries[np.clip(places, 0, len(self.entries) - 1)])

    def is_beside(self, lowest: float, highest: float) -> bool:
        """Say whether all of several values would get the same end of the table."""
        last = self.first + len(self.entries) - 1
        return lowest < highest and (highest <= self.first or lowest >= last)


def read_table(
    item: Any, name: str, limits: tuple[float, float], big_endian: bool, remarks: list[str]
) -> LookUpTable:
    """Read a look-up table, its descriptor compared with its data.

    Entries of 8 bits stand two in a word, or one in each: their number tells. Entries that are a fourth of
    their depth at most are of the depth that they need, as DCMTK reads them, and so are those that exceed it.
    Whether the first value is signed, the lowest and highest value that are looked up, `limits`, tell.
    """
    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    if descriptor is None or isinstance(descriptor, int) or len(descriptor) != 3 or data is None:
        raise UserError(f"expected three numbers and entries of its {name}, got none")
    number, first, declared = (int(value) for value in descriptor)
    number = number % _SIGNED or _SIGNED
    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], ">u2" if big_endian else "<u2")
    else:
        words = np.atleast_1d(np.asarray(data, dtype=np.int64)) % _SIGNED
    entries = words.astype(np.int64)
    if len(words) == (number + 1) // 2 < number:
        entries = np.stack([words % 256, words // 256], axis=1).ravel()[:number].astype(np.int64)
    if len(entries) != number:
        raise UserError(f"expected the {number:,} entries of its {name}, got {len(entries):,}")
    lowest, highest = limits
    if first >= _SIGNED // 2 and highest < first:
        first -= _SIGNED
    elif first < 0 and lowest >= first + number:
        first += _SIGNED
    table = LookUpTable(entries, first, depth_of(entries, declared))
    if table.bits != declared:
        remarks.append(f"its {name} declares {declared} bits, but its entries are of {table.bits}")
    return table


def depth_of(entries: NDArray[Any], declared: int) -> int:
    """Return the depth of a table's entries: the one that it declares where that can be."""
    needed = max(8, int(entries.max()).bit_length())
    return declared if 8 <= declared <= 16 and declared - 1 <= needed <= declared else needed


def shown(values: NDArray[Any], dataset: Any, *, inverted: bool, remarks: list[str]) -> NDArray[np.uint8]:
    """Return values as the data set says that they are shown; `inverted` if the lowest of them is white."""
    for name, default in _DEFAULTS.items():  # an empty element says nothing
        if dataset.get(name) is None or dataset.get(name) == "":
            setattr(dataset, name, default)
    if dataset.RescaleSlope == 0:
        remarks.append("its Rescale Slope is 0, which makes all pixels alike, and is left out")
        dataset.RescaleSlope = 1
    modality = _modality(values, dataset, remarks)
    limits = _range(values, modality, dataset)
    of_interest, ends = _of_interest(dataset, limits, remarks)
    black, white = (float(end) for end in ends)
    if not (math.isfinite(black) and math.isfinite(white)):
        raise UserError(f"expected finite greys, got black at {black:g} and white at {white:g}")

    def grey(rows: NDArray[Any]) -> NDArray[np.float64]:
        shares = (of_interest(modality(rows)) - black) / ((white - black) or 1.0)
        return np.where(padding(rows, dataset), 0.0, 255 * np.clip(1 - shares if inverted else shares, 0, 1))

    return by_rows(values, grey)


def _is_big_endian(dataset: Any) -> bool:
    return not dataset.file_meta.TransferSyntaxUID.is_little_endian


def _modality(stored: NDArray[Any], dataset: Any, remarks: list[str]) -> Rule:
    """Return the rule of the data set's first modality table, or of its rescaling."""
    if not dataset.get("ModalityLUTSequence"):
        rescale = import_module("pydicom.pixels").apply_modality_lut
        return lambda rows: np.asarray(rescale(rows.astype(np.int64), dataset))
    item = dataset.ModalityLUTSequence[0]
    lowest, highest = _range(stored, lambda rows: rows, dataset)
    table = read_table(item, "modality table", (lowest, highest), _is_big_endian(dataset), remarks)
    if table.is_beside(lowest, highest):
        last = table.first + len(table.entries) - 1
        raise UserError(
            f"expected a modality table of its values, which go from {lowest:g} to {highest:g}, got one from "
            f"{table.first} to {last}; correct the table"
        )
    item.LUTDescriptor = [len(table.entries), table.first, table.bits]  # which the window's ends are told by
    return table


def _of_interest(
    dataset: Any, limits: tuple[float, float], remarks: list[str]
) -> tuple[Rule, Sequence[float] | NDArray[Any]]:
    """Return the file's rule of what is of interest, and its values of black and white.

    The rule is its first table, else its first window, else none. Where it leaves nothing but black or white
    of the pixels, whose lowest and highest value are `limits`, all of them are shown, as viewers do.
    """
    pixels = import_module("pydicom.pixels")
    if dataset.get("VOILUTSequence"):
        item = dataset.VOILUTSequence[0]
        table = read_table(item, "table of interest", limits, _is_big_endian(dataset), remarks)
        if not table.is_beside(*limits):
            return table, (0, 2**table.bits - 1)
        remarks.append("its table of interest lies beside all of its values, which are shown from end to end")
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        if _is_useful(dataset, limits):
            ends = pixels.apply_windowing(np.array([-np.inf, np.inf]), dataset)
            return lambda values: pixels.apply_windowing(values, dataset), ends
        remarks.append("its window leaves nothing of its values, which are shown from end to end")
    if int(dataset.BitsStored) == 8 and not dataset.get("ModalityLUTSequence"):
        first = -128 * int(dataset.PixelRepresentation)
        ends = pixels.apply_modality_lut(np.array([first, first + 255]), dataset)
        return lambda values: values, sorted(ends.tolist())
    return lambda values: values, limits


def _is_useful(dataset: Any, limits: tuple[float, float]) -> bool:
    """Say whether the first window has a width, and does not lie beside all values."""
    center, width = (
        float(dataset[name].value if dataset[name].VM <= 1 else dataset[name].value[0])
        for name in ("WindowCenter", "WindowWidth")
    )
    function = str(dataset.VOILUTFunction).upper()
    if (
        not (math.isfinite(center) and math.isfinite(width))
        or width < 1 - (function != "LINEAR")
        or not width
    ):
        return False
    shift, margin = (0.5, (width - 1) / 2) if function == "LINEAR" else (0.0, width / 2)
    if function == "SIGMOID":
        margin = 2 * width  # where it is 0.0003 from its ends
    lowest, highest = limits
    return not lowest < highest or (center - shift - margin < highest and center - shift + margin > lowest)


def _range(stored: NDArray[Any], rule: Rule, dataset: Any) -> tuple[float, float]:
    """Return the lowest and the highest value, padding apart; zeros where there is nothing else."""
    lowest, highest = math.inf, -math.inf
    for rows in blocks_of_rows(stored):
        exposed = rule(stored[rows][~padding(stored[rows], dataset)])
        if exposed.size:
            lowest, highest = min(lowest, float(exposed.min())), max(highest, float(exposed.max()))
    return (0.0, 0.0) if lowest > highest else (lowest, highest)
