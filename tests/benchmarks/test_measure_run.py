"""What is measured of a run's use: of members that have learned nothing, which takes as long."""

from pathlib import Path

import numpy as np
import pytest

from base_models.datasets import open_dataset
from base_models.synthetic import synthesize
from mura_app import Ensemble
from mura_app.schema import HitRate, HitRates


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = tmp_path_factory.mktemp("radiographs") / "tree"
    synthesize(folder, 24, seed=0)
    return open_dataset(folder).studies


@pytest.fixture(scope="module")
def pack(benchmark_script, studies: tuple, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrained") / "pack"
    return benchmark_script("untrained").untrained_pack(folder, "demo", studies)


@pytest.mark.slow
def test_one_study_and_many_are_timed_beside_the_networks_alone(
    benchmark_script,
    pack: Path,
    studies: tuple,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = benchmark_script("bench_predict")
    monkeypatch.setattr(script, "N_LOADED", 2)
    found = script.measure(pack, Ensemble.load(pack), studies, len(studies) + 3)
    assert found["one"]["cold_seconds"] > found["one"]["loaded_ms"] / 1000 > 0
    many = found["many"]
    assert many["studies"] == len(studies) + 3
    views = [len(study.image_paths) for study in studies]
    assert many["radiographs"] == sum(views) + sum(views[:3])
    ratio = many["studies_per_second"] / many["networks_studies_per_second"]
    assert many["share_of_networks_rate"] == pytest.approx(ratio)
    script.show(found)
    assert "of the bare networks' rate" in capsys.readouterr().out


@pytest.mark.slow
def test_the_parts_of_studies_are_all_of_them(
    benchmark_script, pack: Path, studies: tuple, tmp_path: Path
) -> None:
    script, ensemble = benchmark_script("bench_predict"), Ensemble.load(pack)
    script.many(ensemble, studies, tmp_path / "rows.csv")
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [study.study_id for study in studies]
    expected = [found.probabilities[1] for found in ensemble.predict_studies(studies)]
    np.testing.assert_allclose([float(row.split(",")[4]) for row in rows[1:]], expected, atol=1e-6)


def test_unlike_images_are_counted_by_kind(benchmark_script, pack: Path, studies: tuple) -> None:
    found = benchmark_script("measure_run").unlike(Ensemble.load(pack), studies, 4)
    assert {kind: count["of"] for kind, count in found.items()} == dict.fromkeys(
        ("test radiographs", "chest films", "photographs", "noise", "inverted", "upside down"), 4
    )
    foreign = sum(found[kind]["marked"] for kind in ("chest films", "photographs", "noise", "inverted"))
    assert foreign > found["test radiographs"]["marked"], found


def test_hits_are_shares_beside_chance_and_random_weights(
    benchmark_script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = benchmark_script("measure_run")
    rates = HitRates(
        n_images=40,
        margins=[0.0, 0.05],
        chance=[0.01, 0.05],
        median_box=0.004,
        maps=[HitRate(name="ensemble", kind="sum", hits=[10, 20], random_hits=[1, 2])],
    )
    found = script.hits(rates)
    assert found["maps"]["ensemble, sum"]["hits"] == {"0 %": 0.25, "5 %": 0.5}
    assert found["maps"]["ensemble, sum"]["random_weights"] == {"0 %": 0.025, "5 %": 0.05}
    monkeypatch.setattr(script.bench_predict, "show", lambda found: print("speed"))
    script.show({"hit_rates": found, "unlike": {"noise": {"marked": 3, "of": 4}}, "false_alarms": None})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("heat maps, 40 radiographs with boxes; by chance 1.0% (box + 0 %)")
    assert "25.0% (box + 0 %; random weights 2.5%)" in lines[1]
    assert lines[2:] == ["noise: 3 of 4 marked as unlike", "speed"]
