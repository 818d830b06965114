"""Documents of a check, written by hand."""

from pathlib import Path
from typing import Any

from mura_app.data_check.sentences import TITLES


def pair(a: str, b: str, **marks: bool) -> dict[str, Any]:
    """Two near-duplicates of one patient, split and label, but for the marks."""
    harmless = {"exact": False, "across_splits": False, "opposite_labels": False, "same_patient": True}
    return {"paths": [a, b], "correlation": 0.95, **harmless, **marks}


def document(root: Path | str = "data", **problems: list[Any]) -> dict[str, Any]:
    """A data set of two parts with these problems."""
    near = problems.get("near_duplicates", [])
    return {
        "dataset": {
            "name": "MURA",
            "root": str(root),
            "class_names": ["normal", "abnormal"],
            "body_part_names": ["HAND", "WRIST"],
            "remarks": ["A remark."],
        },
        "counts": {
            "images": 1234,
            "studies": 600,
            "patients": 500,
            "studies_by_part": {
                "train": {
                    "HAND": {"normal": 301, "abnormal": 102},
                    "WRIST": {"normal": 103, "abnormal": 54},
                },
                "test": {"HAND": {"normal": 15, "abnormal": 11}, "WRIST": {"normal": 9, "abnormal": 5}},
            },
            "views": {1: 100, 3: 1500},
        },
        "images": {
            "modes": {"L": 1200, "RGB": 34},
            "width": {"least": 90, "median": 400.0, "most": 1512},
            "height": {"least": 80, "median": 512.0, "most": 512},
        },
        "examples": [],
        "problems": {name: problems.get(name, []) for name in TITLES},
        "near_duplicates_found": {"pairs": len(near), "across_splits": 0, "opposite_labels": 0},
        "near_duplicates_complete": True,
        "shortcuts": {
            "size and aspect": {"auroc": 0.514, "auroc_within_parts": None},
            "body part": {"auroc": 0.666, "auroc_within_parts": 0.5},
        },
        "ok": True,
    }


def incomplete() -> dict[str, Any]:
    """A document whose list of near-duplicates is shorter than what was found."""
    return {
        **document(near_duplicates=[pair("a.png", "b.png")]),
        "near_duplicates_found": {"pairs": 44_851, "across_splits": 1, "opposite_labels": 2_000},
        "near_duplicates_complete": False,
        "ok": False,
    }
