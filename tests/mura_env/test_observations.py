import math

import numpy as np
import pytest
from hypothesis import given

from mura_env import ObservationLayout, Predictions, Standardization, observe
from tests.mura_env.tables import random_table, softmax, tables


@given(tables())
def test_every_column_against_a_loop(table: Predictions) -> None:
    observations = observe(table)
    layout = ObservationLayout.of(table)
    assert observations.dtype == np.float32
    assert observations.shape == (len(table), len(layout))
    assert (observations >= layout.low).all()
    assert (observations <= layout.high).all()
    for i in range(min(len(table), 5)):
        row = dict(zip(layout.names, observations[i].tolist(), strict=True))
        members = [softmax([float(value) for value in logits]) for logits in table.logits[i]]
        for m, name in enumerate(table.model_names):
            for k, class_name in enumerate(table.class_names):
                expected = max(math.log(max(members[m][k], 1e-300)), -10.0)
                assert row[f"log_probability/{name}/{class_name}"] == pytest.approx(expected, abs=1e-4)
            assert row[f"confidence/{name}"] == pytest.approx(max(members[m]), abs=1e-5)
            mean = [sum(p[k] for p in members) / len(members) for k in range(table.n_classes)]
            distance = 0.5 * sum(abs(p - q) for p, q in zip(members[m], mean, strict=True))
            assert row[f"disagreement/{name}"] == pytest.approx(distance, abs=1e-5)
        assert row["log_views"] == pytest.approx(math.log(table.n_views[i]), abs=1e-6)
        for j, part in enumerate(table.body_part_names):
            assert row[f"body_part/{part}"] == float(j == table.body_parts[i])


def test_groups_are_found_by_name() -> None:
    layout = ObservationLayout.of(random_table(n_models=3, n_classes=2, n_body_parts=4))
    assert layout.columns("log_probability") == slice(0, 6)
    assert layout.columns("confidence") == slice(6, 9)
    assert layout.columns("disagreement") == slice(9, 12)
    assert layout.columns("log_views") == slice(12, 13)
    assert layout.columns("body_part") == slice(13, 17)
    assert len(layout) == 17
    with pytest.raises(
        ValueError, match=r"expected a group of columns among log_probability, .*, got 'label'"
    ):
        layout.columns("label")


def test_labels_are_not_looked_at() -> None:
    table = random_table()
    other = Predictions.from_arrays(table.logits, 1 - table.labels, table.body_parts, n_views=table.n_views)
    np.testing.assert_array_equal(observe(table), observe(other))


def standardized(table: Predictions, statistics: Standardization) -> np.ndarray:
    return statistics.apply(observe(table), ObservationLayout.of(table).names)


def test_standardization_uses_the_training_table() -> None:
    train, test = random_table(300, seed=1), random_table(50, seed=2)
    statistics = Standardization.fit(train)
    values = standardized(train, statistics)
    continuous = slice(0, ObservationLayout.of(train).columns("body_part").start)
    np.testing.assert_allclose(values[:, continuous].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(values[:, continuous].std(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(values[:, continuous.stop :], observe(train)[:, continuous.stop :])
    expected = (observe(test) - np.array(statistics.mean)) / np.array(statistics.scale)
    np.testing.assert_allclose(standardized(test, statistics), expected, atol=1e-5)


def test_constant_columns_keep_their_scale() -> None:
    statistics = Standardization.fit(random_table(20, n_views=np.ones(20, int)))
    assert dict(zip(statistics.names, statistics.scale, strict=True))["log_views"] == 1.0
    assert np.isfinite(standardized(random_table(1), Standardization.fit(random_table(1)))).all()


def test_statistics_are_checked() -> None:
    statistics = Standardization.fit(random_table())
    with pytest.raises(ValueError, match=r"got the columns 'log_probability/model-0/normal' and .*other"):
        standardized(random_table(model_names=["other", "b", "c"]), statistics)
    with pytest.raises(ValueError, match="got the columns 17 and 16"):
        standardized(random_table(n_body_parts=3), statistics)
    with pytest.raises(ValueError, match="expected as many names as means and scales"):
        Standardization(("a",), (0.0,), ())
    with pytest.raises(ValueError, match="positive finite scales"):
        Standardization(("a",), (0.0,), (0.0,))
