import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mura_env.class_order import (
    class_order,
    normal_class,
    normal_first,
    positive_class,
    positive_words,
    says_normal,
)


@pytest.mark.parametrize(
    ("normal", "other"),
    [
        ("normal", "abnormal"),
        ("Normal ", "FRACTURE"),
        ("Negative", "POSITIVE"),
        ("neg", "pos"),
        ("no fracture", "fracture"),
        ("without fracture", "fracture"),
        ("Non_fractured", "Fractured"),
        ("non-displaced fracture", "displaced fracture"),
        ("not fractured", "fractured"),
        ("healthy", "sick"),
        ("healthy knee", "ACL tear"),
        ("benign", "malignant"),
        ("absent", "present"),
        ("intact", "broken"),
        ("0", "1"),
        ("0.0", "1.0"),
        ("0", "break"),
        ("no", "yes"),
        ("FALSE", "TRUE"),
        ("none", "implant"),
        # German
        ("keine", "Fraktur"),
        ("kein Bruch", "Bruch"),
        ("ohne Befund", "Befund"),
        ("unauffällig", "auffällig"),
        ("unauffaellig", "auffaellig"),
        ("unauffa\u0308llig", "auffa\u0308llig"),  # decomposed, as some file systems write it
        ("gesund", "krank"),
        ("negativ", "positiv"),
        ("gutartig", "bösartig"),
        ("nein", "ja"),
        # French
        ("sain", "malade"),
        ("normale", "anormale"),
        ("négatif", "positif"),
        ("sans fracture", "fracture"),
        ("pas de fracture", "fracture"),
        ("non fracturé", "fracturé"),
        ("bénin", "malin"),
        ("non", "oui"),
        # Spanish
        ("sano", "enfermo"),
        ("normal", "anormal"),
        ("sin fractura", "fractura"),
        ("negativo", "positivo"),
        ("ausente", "presente"),
    ],
)
def test_names_that_say_which_class_is_normal_decide(normal: str, other: str) -> None:
    for names in ((normal, other), (other, normal)):
        order = class_order(names)
        assert (order.question, order.remark) == ("", "")
        assert [names[i] for i in order.positions] == [normal, other]
        assert normal_first(names) == order.positions
        assert order.is_given == (names[0] == normal)


@pytest.mark.parametrize(
    "names",
    [
        ("fracture", "Bruch"),
        ("abnormal", "regular"),
        ("no fracture", "normal"),
        ("1", "-1"),  # an uncertain label, or the other class
        ("non-ossifying fibroma", "fracture"),  # a lesion, in spite of its name
        ("non-union", "fracture"),
        ("non-union", "union"),
        ("not normal", "implant"),
        ("true lateral", "oblique"),
        ("hardware, no fracture", "fracture"),
        ("normal or abnormal", "implant"),
        ("male", "female"),
        ("", "--"),
    ],
)
def test_two_classes_whose_names_leave_it_open_are_asked_for(names: tuple[str, str]) -> None:
    for given_names in (names, names[::-1]):
        order = class_order(given_names)
        assert order.is_given
        assert normal_first(given_names) == (0, 1)
        assert "which one is positive" in order.question
        assert all(f"positive {name}" in order.question for name in names)
        for positive in names:
            answered = class_order(given_names, f" {positive.upper()} ")
            assert [given_names[i] for i in answered.positions][1] == positive
            assert answered.question == ""


@pytest.mark.parametrize(("names", "ordered"), [(("2", "1"), ["1", "2"]), (("7", "10"), ["7", "10"])])
def test_numbers_order_themselves_with_a_remark(names: tuple[str, str], ordered: list[str]) -> None:
    order = class_order(names)
    assert [names[i] for i in order.positions] == ordered
    assert f"--positive {ordered[0]} says otherwise" in order.remark
    assert normal_first(names) == (0, 1)  # a table that was ordered keeps its order
    assert [names[i] for i in class_order(names, ordered[0]).positions] == ordered[::-1]


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (("fracture", "implant", "normal"), ("normal", "fracture", "implant")),
        (("malignant", "normal", "benign"), ("normal", "malignant", "benign")),
        (("0", "1", "10", "11", "2"), ("0", "1", "10", "11", "2")),
        (("class-2", "class-1", "class-0"), ("class-0", "class-2", "class-1")),
        (("sprain", "fracture", "implant"), ("sprain", "fracture", "implant")),
        (("fracture", "healthy", "no fracture"), ("fracture", "healthy", "no fracture")),  # two are normal
        (("normal",), ("normal",)),
    ],
)
def test_of_more_classes_the_only_normal_one_comes_first(
    names: tuple[str, ...], ordered: tuple[str, ...]
) -> None:
    order = class_order(names)
    assert tuple(names[i] for i in order.positions) == ordered
    assert (order.question, order.remark) == ("", "")
    assert positive_class(ordered) is None
    assert positive_words(ordered) == f"none of {len(names)} classes is positive"


def test_which_class_is_the_normal_one() -> None:
    assert normal_class(("cat", "dog")) == normal_class(("normal", "a", "b")) == 0
    assert normal_class(("a", "b", "c")) is None
    assert positive_words(("intact", "broken")) == "positive class: broken"


@pytest.mark.parametrize(
    ("names", "positive", "message"),
    [
        (("cat", "dog"), "cow", "expected one of the classes for positive 'cow', got 'cat' and 'dog'"),
        (("a", "b", "c"), "c", "expected two classes for positive 'c', got 'a', 'b', 'c'"),
        (
            ("abnormal", "normal"),
            "normal",
            "expected 'abnormal' as the positive one of 'abnormal' and 'normal'",
        ),
        (("keine", "Fraktur"), "KEINE", "expected 'Fraktur' as the positive one"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(names: tuple[str, ...], positive: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_order(names, positive)


WORDS = st.sampled_from(["normal", "no", "non", "not", "0", "fracture", "union", "abnormal", "yes", "_", "Ä"])
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_the_order_depends_neither_on_the_given_one_nor_on_case(names: list[str]) -> None:
    firsts = set()
    for permuted in itertools.permutations(names):
        order = class_order(permuted)
        assert sorted(order.positions) == list(range(len(names)))
        says = list(itertools.compress(permuted, says_normal(permuted)))
        if len(says) == 1 and len(names) > 1:
            firsts.add(permuted[order.positions[0]])
            assert firsts == set(says)
            others = [name for name in permuted if name not in says]
            assert [permuted[i] for i in order.positions[1:]] == others
        else:
            assert bool(order.question) == (len(names) == 2)
            assert order.is_given
        assert says == list(itertools.compress(permuted, says_normal([n.upper() for n in permuted])))
