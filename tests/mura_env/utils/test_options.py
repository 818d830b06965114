import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mura_env.errors import UserError
from mura_env.utils.options import Jobs, Range, check_options

WHOLE = st.integers(-(10**400), 10**400) | st.integers(-3, 6)
NUMBERS = WHOLE | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1.5, 4.0])


@dataclass(frozen=True)
class Example:
    count: Annotated[int, Range("[1, 1000]")] = 1
    share: Annotated[float, Range("(0, 1]")] = 0.5
    several: tuple[Annotated[float, Range("[0, 5)")], ...] = ()
    jobs: Jobs | None = None
    file: Path | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_options(self)


@given(NUMBERS, st.sampled_from("[("), st.sampled_from("])"))
def test_a_number_is_taken_if_it_lies_in_the_interval(number, opening, closing):
    good = (isinstance(number, int) or math.isfinite(number)) and Fraction(0) <= Fraction(number) <= Fraction(
        4
    )
    good = good and not (number == 0 and opening == "(") and not (number == 4 and closing == ")")
    if good:
        Range(f"{opening}0, 4{closing}").check("it", number)
    else:
        with pytest.raises(UserError, match=r"expected it in the range .0, 4., got \S+"):
            Range(f"{opening}0, 4{closing}").check("it", number)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"count": np.int64(7), "share": np.float32(0.5)},
        {"share": 1},
        {"several": (0, 4.5), "jobs": 1024},
        {"file": Path("a"), "names": ("b", "ü")},
    ],
)
def test_values_in_range_pass(values):
    Example(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 1.0}, r"expected count as a whole number in the range \[1, 1000\], got 1\.0"),
        ({"count": True}, "count as a whole number"),
        ({"count": None}, "count as a whole number .* got None"),
        ({"share": "0.5"}, r"share as a number in the range \(0, 1\], got '0\.5'"),
        ({"several": (1, 5)}, r"several in the range \[0, 5\), got 5"),
        ({"several": (1, math.nan)}, r"several in the range \[0, 5\), got nan"),
        ({"jobs": 0}, r"jobs in the range \[1, 1024\], got 0"),
        ({"jobs": 10**5000}, r"jobs in the range \[1, 1024\], got one of over 40 digits"),
        ({"file": Path("a\0b")}, r"expected file without null characters, got 'a\\x00b'"),
        ({"names": ("a", "\0")}, "expected names without null characters"),
    ],
)
def test_other_values_are_refused_with_the_name_of_the_field(values, message):
    with pytest.raises(UserError, match=message):
        Example(**values)
