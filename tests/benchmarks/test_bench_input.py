import pytest
import torch


@pytest.fixture
def script(benchmark_script, monkeypatch: pytest.MonkeyPatch):
    script = benchmark_script("bench_input")
    for name, value in {"N_IMAGES": 4, "BATCH": 2, "REAL": (60, 50)}.items():
        monkeypatch.setattr(script, name, value)
    monkeypatch.setitem(script.ROUNDS, "one core", 1)
    return script


def test_both_pipelines_are_measured_per_core_and_with_workers(script, monkeypatch, capsys) -> None:
    paths = []
    monkeypatch.setattr(script, "original", lambda given, **_: paths.append(given) or _batches)
    monkeypatch.setattr(script, "from_cache", lambda *given, **_: paths.append(given[0]) or _batches)
    threads = torch.get_num_threads()
    try:
        found = script.measure(2)
    finally:
        torch.set_num_threads(threads)
    assert len(paths) == 6
    assert all(given == paths[0] for given in paths)
    assert len(paths[0]) == 4
    per_core = found["images_per_second_and_core"]
    assert found["ratio_per_core"] == per_core["this project"] / per_core["original"]
    assert found["required_ratio"] == 15
    script.show(found)
    assert "required: 15" in capsys.readouterr().out


def _batches(epoch: int):
    return iter([torch.zeros(2, 1, 8, 8)] * 2)


def test_both_pipelines_give_each_image_at_the_published_size_as_often_as_wanted(script, tmp_path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(script.smooth_image((60, 50), number))
    published = script.create_augmentation("rlensemble_v1", 160)
    theirs = list(script.original(paths, visits=2, workers=0)(1))
    ours = list(script.from_cache(paths, tmp_path / "cache", 160, published, visits=2, workers=0)(1))
    assert [tuple(batch.shape) for batch in theirs] == [(2, 3, 160, 160)] * 4
    assert [tuple(batch.shape) for batch in ours] == [(2, 1, 160, 160)] * 4
    assert {batch.dtype for batch in (*theirs, *ours)} == {torch.float32}


def test_both_pipelines_change_every_image_anew_and_ours_by_its_seed(script, tmp_path) -> None:
    """What is left out is not fast: changes are drawn at every visit, and ours again by epoch and index."""
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(script.smooth_image((60, 50), number))
    kinds = {name: script.create_augmentation(name, 160) for name in ("rlensemble_v1", "none")}
    epochs = {
        name: script.from_cache(paths, tmp_path / "cache", 160, kind, visits=2, workers=0)
        for name, kind in kinds.items()
    }
    plain = torch.cat(list(epochs["none"](1)))
    assert len(torch.unique(plain.flatten(1), dim=0)) == 4  # each image twice
    seen = [torch.cat(list(epochs["rlensemble_v1"](number))) for number in (1, 2)]
    seen.append(torch.cat(list(script.original(paths, visits=4, workers=0)(1)))[:, :1])
    everything = torch.cat([plain, *seen]).flatten(1)
    assert len(torch.unique(everything, dim=0)) == 4 + 8 + 8 + 16
    assert torch.equal(torch.cat(list(epochs["rlensemble_v1"](1))), seen[0])
