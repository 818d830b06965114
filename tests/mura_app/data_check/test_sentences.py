from typing import Any

import pytest

from mura_app.data_check.sentences import (
    TITLES,
    image_sentences,
    item_sentence,
    items_to_show,
    missing_pairs,
    pair_counts,
    shortcut_rows,
)
from tests.mura_app.data_check.documents import document, incomplete, pair


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ("patient00001", "patient00001"),
        ({"path": "a.png", "reason": "the file is empty"}, "a.png: the file is empty"),
        (pair("a.png", "b.png", exact=True), "a.png = b.png"),
        (pair("a.png", "b.png"), "a.png ≈ b.png"),
        (
            pair("a.png", "b.png", across_splits=True, opposite_labels=True, same_patient=False),
            "a.png ≈ b.png (opposite labels, two patients)",
        ),
        (pair("a.png", "b.png", exact=True, same_patient=False), "a.png = b.png (two patients)"),
    ],
)
def test_an_item_is_one_line(item: Any, sentence: str) -> None:
    assert item_sentence(item) == sentence


def test_images_in_both_splits_come_first_and_are_shown_once() -> None:
    across = pair("a.png", "b.png", across_splits=True)
    within = pair("c.png", "d.png", opposite_labels=True)
    problems = document(duplicates_across_splits=[across], near_duplicates=[across, within])["problems"]
    assert next(iter(TITLES)) == "duplicates_across_splits"
    assert items_to_show(problems, "duplicates_across_splits") == [across]
    assert items_to_show(problems, "near_duplicates") == [within]
    assert (
        pair_counts(problems, "near_duplicates") == "1 across the splits, shown above; 1 with opposite labels"
    )
    assert pair_counts(problems, "duplicates_across_splits") == ""
    assert pair_counts(problems, "exact_duplicates") == ""


def test_the_same_file_with_opposite_labels_has_a_heading_of_its_own() -> None:
    marks = {"exact": True, "opposite_labels": True}
    across, within = pair("a.png", "b.png", across_splits=True, **marks), pair("c.png", "d.png", **marks)
    harmless = pair("e.png", "f.png", exact=True)
    problems = document(
        duplicates_across_splits=[across],
        duplicates_of_opposite_labels=[within],
        exact_duplicates=[across, within, harmless],
    )["problems"]
    assert items_to_show(problems, "duplicates_of_opposite_labels") == [within]
    assert pair_counts(problems, "duplicates_of_opposite_labels") == ""
    assert items_to_show(problems, "exact_duplicates") == [harmless]
    assert pair_counts(problems, "exact_duplicates") == (
        "1 across the splits, shown above; 2 with opposite labels, shown above"
    )


def test_other_lists_are_shown_whole_and_have_no_pairs() -> None:
    problems = document(constant=["a.png", "b.png"])["problems"]
    assert items_to_show(problems, "constant") == ["a.png", "b.png"]
    assert pair_counts(problems, "constant") == ""


def test_pairs_that_are_not_listed_are_counted_in_a_sentence() -> None:
    assert missing_pairs(document()) == ""
    assert missing_pairs(incomplete()) == (
        "Not all pairs of nearly the same image are listed: 44,851 were found, 1 across the splits and "
        "2,000 with opposite labels. Leave one image of each group of copies."
    )


def test_images_are_described_by_views_sizes_and_modes() -> None:
    assert image_sentences(document()) == [
        "Classes: normal, abnormal; positive class: abnormal.",
        "Views of a study: 1 in 100; 3 in 1,500 studies.",
        "Images: width 90 to 1,512 pixels (median 400), height 80 to 512 pixels (median 512); "
        "stored as L (1,200), RGB (34).",
    ]
    empty = document()
    empty["counts"]["views"] = {}
    empty["images"] = {"modes": {}, "width": None, "height": None}
    assert image_sentences(empty)[1:] == ["No studies."]


def test_shortcuts_are_rows_and_a_reason_is_none() -> None:
    assert shortcut_rows(document()["shortcuts"]) == [
        ("size and aspect", "0.51", "–"),
        ("body part", "0.67", "0.50"),
    ]
    assert shortcut_rows({"reason": "too few"}) == []
