"""Words for what a check of a data set can find."""

from collections.abc import Mapping
from typing import Any

from mura_env.class_order import positive_words

TITLES = {
    "duplicates_across_splits": "The same image in both splits",
    "duplicates_of_opposite_labels": "The same file with opposite labels",
    "contradictions": "Contradictions between the data set's own files",
    "unreadable": "Files that cannot be read",
    "patients_on_both_sides": "Patients in both splits",
    "exact_duplicates": "The same file twice",
    "near_duplicates": "Nearly the same image twice",
    "constant": "Images of one grey",
    "odd": "Images that contradict themselves or look unlike the others",
    "misnamed": "Files whose name says something else than their content",
    "unlisted": "Files that belong to no study",
}
"""Name of a list in `problems` → its heading, in the order of their weight."""
_WITH_SHOWN_ABOVE = ("exact_duplicates", "near_duplicates")
"""Lists that hold the pairs of the more dangerous lists, too."""


def item_sentence(item: Any) -> str:
    """Return what was found as one line: a string as it is, a file and its reason, a pair and its faults."""
    if isinstance(item, str):
        return item
    if "reason" in item:
        return f"{item['path']}: {item['reason']}"
    faults = [
        words
        for wrong, words in (
            (item["opposite_labels"], "opposite labels"),
            (not item["same_patient"], "two patients"),
        )
        if wrong
    ]
    sign = " = " if item["exact"] else " ≈ "
    return sign.join(item["paths"]) + (f" ({', '.join(faults)})" if faults else "")


def items_to_show(problems: Mapping[str, list[Any]], name: str) -> list[Any]:
    """Return what stands below a heading; pairs of the most dangerous kinds stand below their own alone."""
    if name not in _WITH_SHOWN_ABOVE:
        return problems[name]
    return [
        pair
        for pair in problems[name]
        if not (pair["across_splits"] or (pair["exact"] and pair["opposite_labels"]))
    ]


def pair_counts(problems: Mapping[str, list[Any]], name: str) -> str:
    """Return how many pairs of a list are dangerous, as the end of a line; empty where none is."""
    if "duplicates" not in name or name == "duplicates_of_opposite_labels":
        return ""
    across = sum(pair["across_splits"] for pair in problems[name]) if name in _WITH_SHOWN_ABOVE else 0
    opposite = sum(pair["opposite_labels"] for pair in problems[name])
    words = "with opposite labels" + (", shown above" if name == "exact_duplicates" else "")
    counted = ((across, "across the splits, shown above"), (opposite, words))
    return "; ".join(f"{number:,} {words}" for number, words in counted if number)


def missing_pairs(document: Mapping[str, Any]) -> str:
    """Return the sentence that not all pairs of nearly the same image are listed; empty where all are."""
    if document["near_duplicates_complete"]:
        return ""
    found = {name: f"{number:,}" for name, number in document["near_duplicates_found"].items()}
    return (
        f"Not all pairs of nearly the same image are listed: {found['pairs']} were found, "
        f"{found['across_splits']} across the splits and {found['opposite_labels']} with opposite labels. "
        "Leave one image of each group of copies."
    )


def image_sentences(document: Mapping[str, Any]) -> list[str]:
    """Return which class is positive, and what the images are like: views of a study, sizes, storage."""
    names = document["dataset"]["class_names"]
    views, images = document["counts"]["views"], document["images"]
    number = "; ".join(f"{count} in {studies:,}" for count, studies in views.items())
    sentences = [
        f"Classes: {', '.join(names)}; {positive_words(names)}.",
        f"Views of a study: {number} studies." if views else "No studies.",
    ]
    if images["width"]:
        sizes = [
            f"{name} {of['least']:,} to {of['most']:,} pixels (median {of['median']:,.0f})"
            for name, of in (("width", images["width"]), ("height", images["height"]))
        ]
        modes = ", ".join(f"{mode} ({files:,})" for mode, files in images["modes"].items())
        sentences.append(f"Images: {', '.join(sizes)}; stored as {modes}.")
    return sentences


def shortcut_rows(shortcuts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows of the table of shortcuts: what is known, AUROC, AUROC within body parts."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    return [
        (name, number(row["auroc"]), number(row["auroc_within_parts"]))
        for name, row in shortcuts.items()
        if name != "reason"
    ]
