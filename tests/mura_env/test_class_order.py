import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_models.datasets.class_order import order_classes, says_normal


@pytest.mark.parametrize(
    ("normal", "others"),
    [
        ("normal", ["abnormal"]),
        ("Negative", ["POSITIVE"]),
        ("no fracture", ["fracture"]),
        ("without fracture", ["fracture"]),
        ("Non_fractured", ["Fractured"]),
        ("non-displaced fracture", ["displaced fracture"]),
        ("not fractured", ["fractured"]),
        ("healthy", ["Fracture"]),
        ("healthy knee", ["ACL tear"]),
        ("Normal", ["arthrosis", "fracture"]),
        ("0.0", ["1.0"]),
        ("0", ["break"]),
        ("no", ["yes"]),
        ("false", ["true"]),
        ("none", ["lytic lesion", "pins"]),
    ],
)
def test_names_that_say_which_class_is_normal_decide(normal: str, others: list[str]) -> None:
    for names in ([normal, *others], [*others, normal]):
        assert order_classes(names) == ([normal, *sorted(others)], True)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["fracture", "Bruch"], "Bruch"),
        (["fracture"], "fracture"),
        (["abnormal", "regular"], "regular"),  # the only one that does not say abnormal
        (["clean", "not normal", "positive for pins"], "clean"),
        (["abnormal"], "abnormal"),
        (["no fracture", "normal", "fracture"], "normal"),  # two that are normal
        (["no fracture", "healthy", "fracture"], "fracture"),
        (["1", "-1"], "-1"),
        (["non-ossifying fibroma", "fracture"], "fracture"),  # a lesion, in spite of its name
        (["non-union", "fracture"], "fracture"),
        (["non-union", "union"], "union"),
        (["true lateral", "oblique"], "oblique"),
        (["hardware, no fracture", "fracture"], "fracture"),
    ],
)
def test_where_names_leave_it_open_it_is_said(names: list[str], first: str) -> None:
    for given_names in (names, names[::-1]):
        ordered, is_clear = order_classes(given_names)
        assert (ordered[0], sorted(ordered), is_clear) == (first, sorted(names), False)


def test_a_single_normal_class_leaves_nothing_open() -> None:
    assert order_classes(["normal"]) == (["normal"], True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", None),
        ("--", None),
        ("normal or abnormal", None),
        ("is not normal", False),
    ],
)
def test_odd_names(name: str, expected: bool | None) -> None:
    assert says_normal(name, [name]) is expected


WORDS = st.sampled_from(["normal", "no", "non", "not", "0", "fracture", "union", "abnormal", "yes", "_", "Ä"])


@given(st.sets(st.lists(WORDS, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=4))
def test_every_class_has_one_place_whatever_the_order_and_the_case(names: set[str]) -> None:
    ordered, is_clear = order_classes(names)
    assert set(ordered) == names
    assert len(ordered) == len(names)
    assert ordered[1:] == sorted(ordered[1:])
    assert order_classes(sorted(names, reverse=True)) == (ordered, is_clear)
    assert [says_normal(name.upper(), [n.upper() for n in names]) for name in ordered] == [
        says_normal(name, names) for name in ordered
    ]
