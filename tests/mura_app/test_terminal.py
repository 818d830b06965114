import json

import pytest

from mura_app.terminal import ProgressBars, error_line, print_json, sentence_of_box


def test_an_error_is_one_line_whatever_it_holds(capsys):
    error_line("first\nsecond\n  third")
    assert capsys.readouterr().err == "mura: error: first second third\n"


def test_json_goes_to_standard_output_alone(capsys):
    print_json({"value": 0.5})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"value": 0.5}
    assert captured.err == ""


def test_a_nan_in_the_json_is_a_defect():
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"value": float("nan")})


def test_without_a_terminal_progress_is_one_line_a_finished_part(capsys):
    with ProgressBars() as progress:
        for completed in range(4):
            progress("decode", completed, 3)
        progress("decode", 3, 3)
        progress("train", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "decode: 3 of 3\n"


@pytest.mark.parametrize(
    "box",
    [
        (
            "╭─ Unrecognized options ─────────────╮\n"
            "│ Unrecognized options: --jsn        │\n"
            "│ ────────────────────────────────── │\n"
            "│ Perhaps you meant:                 │\n"
            "│     --json                         │\n"
            "│         Print one JSON document on │\n"
            "│         standard output.           │\n"
            "│ ────────────────────────────────── │\n"
            "│ For full helptext, run mura --help │\n"
            "╰────────────────────────────────────╯\n"
        ),
        (
            " Unrecognized options               \n"
            " ---------------------------------- \n"
            "  \x1b[31mUnrecognized options: --jsn\x1b[0m       \n"
            "  ----------------------------------\n"
            "  Perhaps you meant:                \n"
            "      --json                        \n"
            "          Print one JSON document.  \n"
            "  ----------------------------------\n"
            "  For full helptext, run mura --help\n"
            "                                    \n"
        ),
    ],
)
def test_a_box_becomes_a_sentence(box):
    assert sentence_of_box(box) == "Unrecognized options: --jsn; Perhaps you meant: --json"
