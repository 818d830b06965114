"""Features: columns of numbers that a user has of each study, wherever a table goes."""

import csv
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mura_env import ENVIRONMENT_ID, ObservationLayout, Predictions, Standardization, observe
from mura_env.checker import check_vector_env
from tests.mura_env.tables import random_table

NAMES = ("age", "dose", "device code")


def with_features(n_studies: int = 40, seed: int = 0, names: tuple[str, ...] = NAMES) -> Predictions:
    values = np.random.default_rng([seed, 7]).normal(size=(n_studies, len(names)))
    return random_table(
        n_studies, seed=seed, features=values * [15, 1e-7, 100] + [60, 0, 1e6], feature_names=names
    )


TABLE = with_features()


def assert_same(table: Predictions, other: Predictions) -> None:
    assert table.feature_names == other.feature_names
    assert (table.features is None) == (other.features is None)
    if table.features is not None:
        np.testing.assert_array_equal(table.features, other.features)
    np.testing.assert_array_equal(table.logits, other.logits)
    assert list(table.study_ids) == list(other.study_ids)


def test_features_are_float32_read_only_and_named_by_default():
    table = random_table(5, features=np.arange(10).reshape(5, 2))
    assert table.feature_names == ("feature-0", "feature-1")
    assert table.features is not None
    assert table.features.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        table.features[0, 0] = 1.0
    assert "features age, dose, device code" in repr(TABLE)
    assert random_table(5).features is None
    assert random_table(5, features=np.empty((5, 0))).features is None


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"features": np.zeros(40)}, r"\(n_studies, n_features\), got shape \(40,\)"),
        ({"features": np.zeros((39, 1))}, r"one row of features per study, 40, got shape \(39, 1\)"),
        ({"features": np.full((40, 1), np.nan)}, r"finite features, got nan at \[0, 0\]"),
        ({"features": np.full((40, 1), 1e39)}, "finite features, got inf"),
        ({"features": [["old"]] * 40}, "features of real numbers"),
        ({"features": np.zeros((40, 2)), "feature_names": ["age"]}, "expected 2 feature names, got 1"),
        ({"features": np.zeros((40, 2)), "feature_names": ["age", "age"]}, "feature names that differ"),
        ({"features": np.zeros((40, 1)), "feature_names": [" age"]}, "CSV file, got ' age'"),
        ({"features": np.zeros((40, 1)), "feature_names": ["a\nge"]}, "line breaks"),
        ({"feature_names": ["age"]}, "expected 0 feature names, got 1"),
    ],
)
def test_wrong_features_are_one_sentence(columns, words):
    with pytest.raises(ValueError, match=words):
        random_table(40, **columns)


def test_they_travel_through_selection_splits_and_files(tmp_path: Path):
    path = tmp_path / "table.npz"
    TABLE.save(path)
    assert_same(Predictions.load(path), TABLE)
    TABLE.to_csv(tmp_path / "table.csv")
    assert_same(Predictions.from_csv(tmp_path / "table.csv"), TABLE)
    first, second = TABLE.split(0.5, seed=1)
    both = Predictions.concatenate([first, second])
    order = [list(both.study_ids).index(study) for study in TABLE.study_ids]
    assert_same(both.select(order), TABLE)
    random_table().save(path)
    assert Predictions.load(path).feature_names == ()
    with np.load(path) as archive:  # a table without features is the file that it always was
        assert {"features", "feature_names"}.isdisjoint(archive.files)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6)


@settings(max_examples=40)
@given(
    names=st.lists(TEXTS, min_size=1, max_size=4, unique=True),
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=12, max_size=12),
)
def test_csv_gives_every_name_and_number_back(tmp_path_factory, names, values):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    features = np.resize(np.array(values, np.float32), (3, len(names)))
    table = random_table(3, features=features, feature_names=names)
    table.to_csv(path)
    assert_same(Predictions.from_csv(path), table)


def rewritten(tmp_path: Path, row: int, column: str, text: str) -> Path:
    """Return the table's CSV with another cell."""
    path = tmp_path / "table.csv"
    TABLE.to_csv(path)
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    rows[row][rows[0].index(column)] = text
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.mark.parametrize(
    ("row", "column", "text", "words"),
    [
        (
            2,
            "feature_age",
            "7",
            "row 3: expected feature_age .* as in the other rows of study 'study-0', got 7.0",
        ),
        (1, "feature_dose", "nan", "row 2: expected feature_dose as a number in .*, got nan"),
        (1, "feature_dose", "-inf", "row 2: expected feature_dose as a number in .*, got -inf$"),
        (1, "feature_dose", "", "row 2: expected feature_dose as a number in .*, got ''"),
        (0, "feature_dose", "feature_", "a name after feature_, got a column without"),
        (0, "feature_dose", "feature_age", "expected every column once, got 'feature_age' 2 times"),
        (0, "feature_dose", "dose", "feature_<name>, subgroup_<name>, got 'dose'"),
        (2, "n_views", "77", "row 3: expected n_views . as in the other rows"),
    ],
)
def test_a_csv_says_where_a_feature_is_wrong(tmp_path, row, column, text, words):
    with pytest.raises(ValueError, match=words):
        Predictions.from_csv(rewritten(tmp_path, row, column, text))


def test_tables_are_put_together_by_the_features_names():
    first, second = TABLE.select(slice(20)), TABLE.select(slice(20, None)).with_features(NAMES[::-1])
    assert_same(Predictions.concatenate([first, second]), TABLE)
    for lacking in (second.with_features(("age",)), second.with_features("none")):
        with pytest.raises(ValueError, match=r"same features, got '\w[\w ]*' in some of them only: drop it"):
            Predictions.concatenate([first, lacking])
    without = [part.with_features("none") for part in (first, second)]
    assert Predictions.concatenate(without).features is None


def test_some_features_are_taken_by_name():
    assert TABLE.with_features("all") is TABLE
    assert TABLE.with_features("none").feature_names == ()
    chosen = TABLE.with_features(["device code", "age"])
    np.testing.assert_array_equal(chosen.features, TABLE.features[:, [2, 0]])
    for wrong, words in (
        (
            ["weight"],
            "expected features among those of the table, 'age', 'dose', 'device code', got 'weight'; name",
        ),
        (["age", "age"], "expected each feature once, got 'age' twice"),
        ("age", "'all', 'none' or a sequence of names, got 'age'"),
    ):
        with pytest.raises(ValueError, match=words):
            TABLE.with_features(wrong)
    with pytest.raises(ValueError, match="expected a table with features, got 'age'"):
        random_table().with_features(["age"])


def test_they_are_the_last_columns_of_the_observation():
    plain = TABLE.with_features("none")
    layout, observations = ObservationLayout.of(TABLE), observe(TABLE)
    assert layout.names == (*ObservationLayout.of(plain).names, *(f"feature/{name}" for name in NAMES))
    columns = layout.columns("feature")
    np.testing.assert_array_equal(observations[:, columns], TABLE.features)
    np.testing.assert_array_equal(observations[:, : columns.start], observe(plain))
    assert ObservationLayout.of(plain).columns("feature") == slice(columns.start, columns.start)


def test_standardization_takes_features_of_any_magnitude():
    statistics = Standardization.fit(TABLE)
    layout = ObservationLayout.of(TABLE)
    values = statistics.apply(observe(TABLE), layout.names)[:, layout.columns("feature")]
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-3)
    constant = random_table(40, features=np.full((40, 1), 1e6 / 3))
    assert Standardization.of_features(constant).scale == (1.0,)
    other = TABLE.with_features(NAMES[::-1])
    with pytest.raises(ValueError, match="features of the training table, got the columns 'feature/age'"):
        statistics.apply(observe(other), ObservationLayout.of(other).names)


@pytest.mark.parametrize("features", ["all", "none", ("dose", "age")])
@pytest.mark.filterwarnings("ignore:.*A Box observation space m:UserWarning")  # features have no bounds
def test_both_environments_show_the_features_asked_for(features):
    options = {"predictions": TABLE, "features": features}
    env = gymnasium.make(ENVIRONMENT_ID, **options)
    envs = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=4, **options)
    check_vector_env(envs, env)
    observation, _ = env.reset(seed=0)
    shown = TABLE.with_features(features)
    study = int(env.unwrapped._shown.studies[0])
    np.testing.assert_array_equal(observation, observe(shown)[study])
    assert env.observation_space.shape == (len(ObservationLayout.of(shown)),)
    with pytest.raises(ValueError, match="got 'weight'"):
        gymnasium.make(ENVIRONMENT_ID, predictions=TABLE, features=["weight"])
