"""Words for what a check of a data set can find."""

from collections.abc import Mapping
from typing import Any

TITLES = {
    "contradictions": "Contradictions between the data set's own files",
    "unreadable": "Files that cannot be read",
    "patients_on_both_sides": "Patients in both splits",
    "exact_duplicates": "The same file twice",
    "near_duplicates": "Nearly the same picture twice",
    "constant": "Pictures of one grey",
    "misnamed": "Files whose name says something else than their content",
    "unlisted": "Files that belong to no study",
}
"""Name of a list in `problems` → its heading, in the order of their weight."""


def item_sentence(item: Any) -> str:
    """What was found, as one line: a string as it is, a file with its reason, a pair with what is wrong."""
    if isinstance(item, str):
        return item
    if "reason" in item:
        return f"{item['path']}: {item['reason']}"
    faults = [
        words
        for key, words in (("across_splits", "in both splits"), ("opposite_labels", "opposite labels"))
        if item[key]
    ]
    if not item["same_patient"]:
        faults.append("two patients")
    return " = ".join(item["paths"]) + (f" ({', '.join(faults)})" if faults else "")


def pair_counts(pairs: list[Mapping[str, Any]]) -> str:
    """How many of the pairs are dangerous, as the end of a line; empty where none is."""
    counted = [
        (sum(bool(pair[key]) for pair in pairs), words)
        for key, words in (
            ("across_splits", "across the splits"),
            ("opposite_labels", "with opposite labels"),
        )
    ]
    return ", ".join(f"{number:,} {words}" for number, words in counted if number)


def picture_sentences(document: Mapping[str, Any]) -> list[str]:
    """What the pictures are like: views of a study, sizes, and how they are stored."""
    views, pictures = document["counts"]["views"], document["pictures"]
    number = "; ".join(f"{count} in {studies:,}" for count, studies in views.items())
    sentences = [f"Views of a study: {number} studies." if views else "No studies."]
    if pictures["width"]:
        sizes = [
            f"{name} {of['least']:,} to {of['most']:,} pixels (median {of['median']:,.0f})"
            for name, of in (("width", pictures["width"]), ("height", pictures["height"]))
        ]
        modes = ", ".join(f"{mode} ({files:,})" for mode, files in pictures["modes"].items())
        sentences.append(f"Pictures: {', '.join(sizes)}; stored as {modes}.")
    return sentences


def shortcut_rows(shortcuts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of the table of shortcuts: what is known, AUROC, AUROC within body parts."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    return [
        (name, number(row["auroc"]), number(row["auroc_within_parts"]))
        for name, row in shortcuts.items()
        if name != "reason"
    ]
