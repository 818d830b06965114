from typing import Any

import pytest

from mura_app.data_check import show_audit
from tests.mura_app.data_check.documents import document, incomplete, pair


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    def show(found: dict[str, Any]) -> str:
        show_audit(found)
        return capsys.readouterr().out

    return show


def test_counts_problems_and_shortcuts_are_printed(shown: Any) -> None:
    text = shown(document(unreadable=[{"path": "[b]a.png", "reason": "the file is empty"}]))
    assert "MURA: 1,234 images, 600 studies, 500 patients" in text
    (hand,) = (line.split() for line in text.splitlines() if "HAND" in line)
    assert [word for word in hand if word.isdigit()] == ["301", "102", "15", "11"]
    assert "Files that cannot be read: 1\n  [b]a.png: the file is empty\n" in text
    assert "Images of one grey: 0\n" in text
    assert "0.67" in text
    assert "A remark." in text
    assert "Not all pairs" not in text


def test_images_in_both_splits_are_the_first_list(shown: Any) -> None:
    across = pair("a.png", "b.png", across_splits=True, same_patient=False)
    text = shown(document(duplicates_across_splits=[across], near_duplicates=[across]))
    assert "The same image in both splits: 1\n  a.png ≈ b.png (two patients)\n" in text
    assert text.index("The same image in both splits") < text.index("Contradictions")
    assert "Nearly the same image twice: 1 (1 across the splits, shown above)\n" in text
    assert text.count("a.png") == 1


def test_a_long_list_says_where_the_rest_stands(shown: Any) -> None:
    text = shown(document(constant=[f"{i}.png" for i in range(70)]))
    assert "  4.png\n  and 65 more (--html shows the first 60, --json lists them)\n" in text
    assert "5.png\n" not in text


def test_a_list_that_is_not_complete_is_said(shown: Any) -> None:
    assert "44,851 were found, 1 across the splits and 2,000 with opposite labels." in shown(incomplete())


def test_where_there_is_no_shortcut_figure_the_reason_is_printed(shown: Any) -> None:
    text = shown({**document(), "shortcuts": {"reason": "fewer than 5 test studies of a class"}})
    assert (
        "Prediction of the label with no pixel seen: no figure, fewer than 5 test studies of a class\n"
        in text
    )
