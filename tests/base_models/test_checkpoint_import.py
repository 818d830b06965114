import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from base_models import load_members
from base_models.checkpoint_import import import_checkpoint, read_checkpoint
from base_models.datasets import open_dataset
from base_models.members import TrainedMember, load_trained_members, save_member
from base_models.prediction import predict_studies
from tests.base_models.published import Ensemble, Ultimate, shaken
from tests.base_models.trees import write_mura

IMAGES = torch.rand((2, 3, 40, 32), generator=torch.Generator().manual_seed(0)) * 4 - 2


@pytest.mark.parametrize("form", ["plain", "se", "cbam"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_members_give_the_originals_outputs(tmp_path: Path, form: str, wrapped: bool) -> None:
    original = shaken(Ensemble(form), seed=1)
    state = original.state_dict()
    torch.save({"epoch": 3, "model_state_dict": state} if wrapped else state, tmp_path / "v.pth")
    imported = import_checkpoint(tmp_path / "v.pth", tmp_path / "run")
    networks = load_members(tmp_path / "run")
    assert list(imported.members) == ["model1", "model2", "model3"]
    with torch.no_grad():
        for network, source in zip(
            networks, (original.model1, original.model2, original.model3), strict=True
        ):
            assert not network.training
            torch.testing.assert_close(network(IMAGES), source(IMAGES), rtol=0, atol=1e-5)
    kept = load_file(tmp_path / "run" / "members" / "published_weighting.safetensors")
    assert set(kept) == {name for name in state if not name.startswith("model")}
    for name, tensor in kept.items():
        assert torch.equal(tensor, state[name])


@pytest.mark.parametrize(("form", "specialist"), [("plain", "densenet121"), ("cbam", "efficientnet_b3")])
def test_the_later_versions_bring_a_specialist(tmp_path: Path, form: str, specialist: str) -> None:
    original = shaken(Ultimate(form, specialist), seed=2)
    torch.save({"model_state_dict": original.state_dict()}, tmp_path / "v.pth")
    imported = import_checkpoint(tmp_path / "v.pth", tmp_path / "run")
    assert imported.members["specialist"].config.network == specialist
    networks = load_members(tmp_path / "run")
    sources = [getattr(original.rl_ensemble, f"model{i}") for i in (1, 2, 3)] + [original.expert]
    large = torch.nn.functional.interpolate(IMAGES, (original.size, original.size + 8))
    with torch.no_grad():
        for network, source in zip(networks, sources, strict=True):
            torch.testing.assert_close(network(IMAGES), source(IMAGES), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(networks[3](large), original.expert(large), rtol=1e-5, atol=1e-5)
    assert any(name.startswith("gating.fc.") for name in imported.weighting)


def test_imported_members_predict_stretched_and_normalised_radiographs(tmp_path: Path) -> None:
    from PIL import Image

    original = shaken(Ensemble(), seed=3)
    torch.save(original.state_dict(), tmp_path / "v.pth")
    import_checkpoint(tmp_path / "v.pth", tmp_path / "run")
    studies = open_dataset(write_mura(tmp_path / "MURA-v1.1")).studies[:2]
    logits = predict_studies(load_trained_members(tmp_path / "run"), studies)
    mean = np.array([0.485, 0.456, 0.406])[:, None, None]
    scale = np.array([0.229, 0.224, 0.225])[:, None, None]
    for row, study in enumerate(studies):
        views = []
        for path in study.image_paths:
            image = Image.open(path).convert("RGB").resize((160, 160), Image.Resampling.BILINEAR)
            planes = (np.asarray(image).transpose(2, 0, 1) / 255 - mean) / scale
            with torch.no_grad():
                out = original.model1(torch.from_numpy(planes).float()[None])
            views.append(out.softmax(1)[0].numpy())
        # two libraries enlarge the same picture: close, not equal
        np.testing.assert_allclose(np.exp(logits[row, 0]), np.mean(views, axis=0), atol=0.02)


ADDED = {
    "foreign": {"encoder.weight": torch.ones(2)},
    "shape": {"model3.fc.bias": torch.ones(5)},
    "extra": {"model1.extra.weight": torch.ones(1)},
    "scalar": {"model1.fc.weight": torch.tensor(1.0)},
    "kernel": {"model1.conv1.weight": torch.ones(16)},
    "specialist": {"specialist.model.x": torch.ones(3)},
    "bias": {"specialist.model.x.bias": torch.tensor(1.0)},
}
DROPPED = {"missing": "model2.layer1.0.conv1.weight", "two": "model3"}


def _change(state: dict[str, torch.Tensor], kind: str) -> dict[str, torch.Tensor]:
    changed = {**state, **ADDED.get(kind, {})}
    if kind in DROPPED:
        changed = {name: tensor for name, tensor in state.items() if not name.startswith(DROPPED[kind])}
    return changed


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("foreign", "got 'encoder.weight'"),
        ("missing", r"model2 in .*without 'layer1\.0\.conv1\.weight'"),
        ("shape", r"model3 in .*'fc.bias' has the shape \(5,\) instead of"),
        ("scalar", "fc.weight with 2 of model1 in"),
        ("kernel", "conv1.weight with 4 axes and .* of model1 in"),
        ("specialist", "expected biases with one axis of specialist in"),
        ("bias", "expected biases with one axis of specialist in"),
        ("two", "expected model3"),
        ("extra", r"model1 in .*with 'extra\.weight'"),
    ],
)
def test_other_checkpoints_are_refused(tmp_path: Path, kind: str, message: str) -> None:
    torch.save(_change(Ensemble().state_dict(), kind), tmp_path / "v.pth")
    with pytest.raises(ValueError, match=message):
        import_checkpoint(tmp_path / "v.pth", tmp_path / "run")
    assert not (tmp_path / "run").exists()


class _Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code from a file",))


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model_state_dict": _Payload()}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Payload(), protocol=2))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(ValueError, match="holds more than data"):
            read_checkpoint(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.pth"):
        read_checkpoint(tmp_path / "none.pth")
    torch.save(Ensemble().state_dict(), tmp_path / "v.pth")
    content = (tmp_path / "v.pth").read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"no weights at all"):
        (tmp_path / "v.pth").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"v\.pth"):
            read_checkpoint(tmp_path / "v.pth")


@pytest.mark.parametrize("prefix", ["module.", "rl_ensemble.", "module.rl_ensemble."])
def test_names_of_wrappers_and_old_files_are_understood(tmp_path: Path, prefix: str) -> None:
    original = shaken(Ensemble(), seed=4)
    state = {
        f"{prefix}{name}": tensor
        for name, tensor in original.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "v.pth")
    network = read_checkpoint(tmp_path / "v.pth").members["model2"].network
    with torch.no_grad():
        torch.testing.assert_close(network(IMAGES), original.model2(IMAGES), rtol=0, atol=1e-5)


def test_regions_may_share_a_tensor(tmp_path: Path) -> None:
    state = Ensemble().state_dict()
    state["part_attention.ELBOW"] = state["part_attention.SHOULDER"] = torch.ones(3)
    torch.save(state, tmp_path / "v.pth")
    import_checkpoint(tmp_path / "v.pth", tmp_path / "run")
    kept = load_file(tmp_path / "run" / "members" / "published_weighting.safetensors")
    assert kept["part_attention.ELBOW"].tolist() == kept["part_attention.SHOULDER"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default_weights": torch.ones(3).to_sparse()}, "plain tensors of real numbers"),
        ({"default_weights": torch.ones(3, dtype=torch.complex64)}, "plain tensors of real numbers"),
        ({"default_weights": torch.ones(3, device="meta")}, "plain tensors of real numbers"),
        ({"default_weights": torch.tensor([1.0, float("nan")])}, "finite values of 'default_weights'"),
        (
            {"model1.bn1.bias": torch.ones(64, dtype=torch.int64)},
            "floating-point values of 'model1.bn1.bias'",
        ),
        ({"module.default_weights": torch.ones(3)}, "each tensor once"),
    ],
)
def test_values_of_no_network_are_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, torch.Tensor], message: str
) -> None:
    state = {"default_weights": torch.ones(3), **Ensemble().state_dict()}
    torch.save({**state, **change}, tmp_path / "v.pth")
    with pytest.raises(ValueError, match=message):
        import_checkpoint(tmp_path / "v.pth", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_networks_of_different_classes_are_no_ensemble(tmp_path: Path) -> None:
    state = Ensemble().state_dict()
    for n_rows in (1, 3):
        rows = {
            f"model2.fc.{name}": torch.ones(n_rows, *state[f"model2.fc.{name}"].shape[1:])
            for name in ("weight", "bias")
        }
        torch.save({**state, **rows}, tmp_path / "v.pth")
        with pytest.raises(ValueError, match=f"the same two or more classes .* {n_rows} of model2"):
            read_checkpoint(tmp_path / "v.pth")


def test_an_import_over_another_that_is_interrupted_leaves_no_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Ensemble().state_dict()
    torch.save(state, tmp_path / "a.pth")
    members = {name: tensor for name, tensor in state.items() if name.startswith("model")}
    torch.save(members, tmp_path / "b.pth")
    import_checkpoint(tmp_path / "a.pth", tmp_path / "run")
    weighting = tmp_path / "run" / "members" / "published_weighting.safetensors"
    assert weighting.is_file()

    def interrupted(run_dir: Path, member: TrainedMember, facts: dict[str, object]) -> None:
        save_member(run_dir, member, facts)
        if member.config.name == "model2":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("base_models.checkpoint_import.save_member", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_checkpoint(tmp_path / "b.pth", tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="expected the members of a finished run"):
        load_members(tmp_path / "run")
    import_checkpoint(tmp_path / "b.pth", tmp_path / "run")
    assert len(load_members(tmp_path / "run")) == 3
    assert not weighting.exists()
