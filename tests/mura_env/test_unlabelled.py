"""Tables to predict from, whose labels nobody knows."""

import gymnasium
import numpy as np
import pytest

from mura_env import ENVIRONMENT_ID, Predictions


def test_a_table_without_labels_is_saved_and_read_and_no_environment(tmp_path) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(40, 3, 2)).astype(np.float32)
    labels = generator.integers(0, 2, 40)
    known, unknown = Predictions.from_arrays(logits, labels), Predictions.from_arrays(logits, None)
    assert (known.has_labels, unknown.has_labels) == (True, False)
    assert "0 normal" in repr(unknown)
    turned = Predictions.from_arrays(logits[..., ::-1], None, class_names=("abnormal", "normal"))
    np.testing.assert_array_equal(turned.logits, logits)
    assert not turned.has_labels
    unknown.save(tmp_path / "t.npz")
    unknown.to_csv(tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text().replace(",label,", ",").replace(",all,,", ",all,")
    (tmp_path / "no-column.csv").write_text(text)
    for name in ("t.csv", "no-column.csv"):
        np.testing.assert_array_equal(
            Predictions.from_csv(tmp_path / name, with_labels=False).logits, unknown.logits
        )
        with pytest.raises(ValueError, match="label"):
            Predictions.from_csv(tmp_path / name)
    assert not Predictions.load(tmp_path / "t.npz").has_labels
    for name in (ENVIRONMENT_ID, "mura_env/EnsembleConsultation-v0"):
        with pytest.raises(ValueError, match="expected a table with labels"):
            gymnasium.make(name, predictions=unknown)
