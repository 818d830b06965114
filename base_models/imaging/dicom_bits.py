"""Which bits of a DICOM pixel hold its value, also where the header contradicts the pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.imaging.greys import blocks_of_rows
from mura_env.errors import UserError

_MOST = 0.6
"""Share of the neighbours that have to be alike for an image to be smooth; of noise, 0.44 are."""
_OVERLAYS = range(0x6000, 0x6020, 2)
"""Groups of elements that may describe overlays in the unused bits of pixels."""


def padding(stored: NDArray[Any], dataset: Any) -> NDArray[np.bool_]:
    """Return which pixels fill up what was not exposed (DICOM PS3.3 C.7.5.1.1.2)."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    last = dataset.get("PixelPaddingRangeLimit")
    lowest, highest = sorted((int(first), int(first if last is None else last)))
    return np.asarray((stored >= lowest) & (stored <= highest))


def values_of(stored: NDArray[Any], dataset: Any, remarks: list[str]) -> NDArray[Any]:
    """Return the values of stored pixels, of which Bits Stored bits count, the highest of them High Bit.

    Pixels that keep to Bits Stored are what they seem, whatever High Bit says, and padding is left as it is.
    Values whose bits end at High Bit are shifted down. Where values need more bits than are stored, the image
    without them is compared with the whole one, at the places where these bits change: whatever is smooth
    there is the radiograph. The data set's Bits Stored then says what the values need, and `remarks` gets a
    sentence for each contradiction.
    """
    bits, allocated = int(dataset.BitsStored), 8 * stored.dtype.itemsize
    if bits >= allocated:
        return stored
    exposed = stored if dataset.get("PixelPaddingValue") is None else stored[~padding(stored, dataset)]
    below = int(dataset.HighBit) + 1 - bits if dataset.get("HighBit") is not None else 0
    if below > 0 and exposed.size and exposed.any() and not np.any(exposed & ((1 << below) - 1)):
        return _where_exposed(stored, stored >> below, dataset)
    if _keep_to(bits, exposed):
        return stored
    low = _low_bits(stored, bits)
    unsigned = exposed.view(f"u{stored.dtype.itemsize}")
    sign_is_cut = stored.dtype.kind == "i" and int(unsigned.max()) < 1 << bits
    if sign_is_cut or _has_overlay(dataset, bits):
        return _where_exposed(stored, low, dataset)
    needed = _needed_bits(exposed)
    whole_is_smooth, low_is_smooth = (share > _MOST for share in _alike(stored, bits))
    if whole_is_smooth and not low_is_smooth:
        remarks.append(f"Bits Stored is {bits}, but its values need {needed}, and all of them are read")
        dataset.BitsStored = needed
        return stored
    if low_is_smooth and not whole_is_smooth:
        remarks.append(f"Bits Stored is {bits}, and what its pixels hold in other bits is left out")
        return _where_exposed(stored, low, dataset)
    raise UserError(
        f"expected values of {bits} bits, as its Bits Stored says, got some of {needed}, and cannot tell "
        "which bits count; correct Bits Stored and High Bit"
    )


def _where_exposed(stored: NDArray[Any], values: NDArray[Any], dataset: Any) -> NDArray[Any]:
    if dataset.get("PixelPaddingValue") is None:
        return values
    return np.where(padding(stored, dataset), stored, values)


def _keep_to(bits: int, values: NDArray[Any]) -> bool:
    """Say whether values, signed or not, fit into a number of bits."""
    return not values.size or _needed_bits(values) <= bits


def _needed_bits(values: NDArray[Any]) -> int:
    lowest, highest = int(values.min()), int(values.max())
    if values.dtype.kind == "u":
        return highest.bit_length()
    return 1 + max(highest, -lowest - 1, 0).bit_length()


def _low_bits(stored: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return the lowest bits alone; of signed numbers, the highest of them is the sign."""
    unused = 8 * stored.dtype.itemsize - bits
    return (stored << unused) >> unused


def _alike(stored: NDArray[Any], bits: int) -> tuple[float, float]:
    """Return which shares of the neighbours whose higher bits differ are alike, whole and in low bits alone.

    They are alike if they differ by less than a fourth of what the low bits can hold.
    """
    n_pairs, n_whole, n_low, near = 0, 0, 0, 2**bits / 4
    for rows in blocks_of_rows(stored):
        whole = stored[rows].astype(np.int64)
        low = whole & ((1 << bits) - 1)
        for axis in (0, 1):
            changed = np.diff(whole >> bits, axis=axis) != 0
            n_pairs += int(changed.sum())
            n_whole += int((np.abs(np.diff(whole, axis=axis))[changed] < near).sum())
            n_low += int((np.abs(np.diff(low, axis=axis))[changed] < near).sum())
    return n_whole / max(1, n_pairs), n_low / max(1, n_pairs)


def _has_overlay(dataset: Any, bits: int) -> bool:
    """Say whether the data set describes an overlay in the bits above those stored, as old files have."""
    places = (dataset.get((group, 0x0102)) for group in _OVERLAYS)
    return any(place is not None and int(place.value or 0) >= bits for place in places)
