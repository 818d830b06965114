import math
import re

from mura_app.report.behaviour_tables import (
    behaviour_table,
    calibration_table,
    changed_predictions_table,
    pairs_table,
)


def cells(table):
    """Text of the cells, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL)[1:]
    return [
        [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in rows
    ]


def figure(mean):
    return {"mean": mean, "seed_spread": 0.0}


def test_what_the_policies_did():
    row = {
        "entropy": figure(math.log(2)),
        "distance_from_uniform": figure(0.25),
        "changed_predictions": {
            "correct_after": 5,
            "incorrect_after": 3,
            "incorrect_throughout": 0,
            "studies": [],
        },
        "gap_closed": 0.5,
        "regret": {"to_oracle": figure(0.1), "to_best_member": figure(-0.012)},
        "learning_regret": None,
    }
    shown = cells(behaviour_table({"ppo": row, "flat": {**row, "gap_closed": None}}))
    assert shown[0] == ["ppo", "2.00", "0.25", "5", "3", "50", "-1.2", "–"]
    assert shown[1][5] == "–"


def test_pairs_and_calibration():
    pair = {"members": ["a", "b"], "agreement": 0.9, "disagreement": 0.1, "double_fault": 0.05}
    assert cells(pairs_table({"pairs": [{**pair, "q_statistic": None}]})) == [
        ["a and b", "90.0", "10.0", "5.0", "–"]
    ]
    tables = {
        "train": {"members": {"a": {"slope": 0.9, "intercepts": [0.1, -0.2]}}},
        "test": {"members": {"a": {"slope": None, "intercepts": None}}},
    }
    assert cells(calibration_table(tables)) == [
        ["a", "train", "0.90", "+0.10, -0.20"],
        ["a", "test", "–", "–"],
    ]


def test_changed_predictions_come_clearest_first_with_weights_and_images():
    def study(name, probability):
        return {
            "study_id": name,
            "body_part": "hand",
            "label": "normal",
            "change": "correct_after",
            "baseline_probability": 0.4,
            "probability": probability,
            "weights": [0.25, 0.75],
        }

    changed = {"studies": [study("a/b", 0.51), study("c<d", 0.9), study("e", 0.6)]}
    table = changed_predictions_table("ppo", changed, ["m", "n"], {"e": "data:image/jpeg;base64,AAAA"})
    shown = cells(table)
    assert [row[0] for row in shown] == ["c&lt;d", "e", "a/b"]
    assert shown[0] == ["c&lt;d", "–", "hand", "normal", "correct", "0.40", "0.90", "0.25", "0.75"]
    assert table.count("<img ") == 1
    assert 'alt="hand, normal: study e"' in table
    assert "width:75%" in table
    without = changed_predictions_table("ppo", changed, ["m", "n"], {})
    assert "radiograph" not in without
    assert len(cells(without)[0]) == 8
