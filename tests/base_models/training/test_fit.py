import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from base_models.config import MemberConfig, TrainingConfig
from base_models.members import load_weights, new_network
from base_models.networks.input_format import IMAGENET
from base_models.prediction import ViewOutputs, view_logits
from base_models.storage import load_tensors, read_facts
from base_models.training.fit import FitJob, is_finished, run_fit
from base_models.training.validation import FoldImages, ValidationImages, score
from tests.base_models.trees import picture

ROWS = np.arange(10)
JOB = FitJob(
    member=MemberConfig("a", image_size=32, epochs=2, options={"blocks": 1, "width": 4}),
    training=TrainingConfig(),
    fold=0,
    seed=0,
    n_classes=2,
    images=Path("cache/32px-abc/images.npy"),
    pixels="abc",
    train=FoldImages(ROWS, ROWS % 2, ROWS % 3, None),
    predict_rows=ROWS,
    weights=Path("weights.safetensors"),
)


def test_the_cost_of_a_fit_counts_images_epochs_pixels_and_layers() -> None:
    assert replace(JOB, member=replace(JOB.member, epochs=4)).cost == 2 * JOB.cost
    assert replace(JOB, train=replace(JOB.train, rows=np.arange(30))).cost == 3 * JOB.cost
    assert replace(JOB, member=replace(JOB.member, image_size=64)).cost == pytest.approx(
        4 * JOB.cost, rel=0.01
    )
    assert replace(JOB, member=replace(JOB.member, options={"blocks": 2, "width": 4})).cost > 1.5 * JOB.cost


@pytest.mark.parametrize(
    "change",
    [
        {"member": replace(JOB.member, epochs=3)},
        {"training": replace(JOB.training, learning_rate=1e-3)},
        {"fold": 1},
        {"seed": 1},
        {"pixels": "def"},
        {"train": replace(JOB.train, rows=ROWS[::-1].copy())},
        {"train": replace(JOB.train, labels=1 - ROWS % 2)},
        {"train": replace(JOB.train, body_parts=ROWS % 2)},
        {"train": replace(JOB.train, validation=ValidationImages(ROWS, ROWS % 2))},
        {"input_format": IMAGENET.one_plane},
    ],
)
def test_the_fingerprint_covers_all_that_the_weights_depend_on(change: dict[str, object]) -> None:
    assert replace(JOB, **change).fingerprint != JOB.fingerprint
    others = {"weights": Path("elsewhere"), "images": Path("moved.npy"), "predict_rows": ROWS[:2]}
    others |= {"files": "f", "training": replace(JOB.training, loader_processes=3)}
    assert replace(JOB, **others).fingerprint == JOB.fingerprint


def small_job(folder: Path, **choices: object) -> FitJob:
    """A fit of four epochs of six batches on 24 small pictures.

    With inner validation, six of them validate it and the first six are shown twice.
    """
    labels = np.arange(24) % 2
    images = folder / "cache" / "images.npy"
    images.parent.mkdir(parents=True, exist_ok=True)
    np.save(images, np.stack([picture(seed, label, (24, 24)) for seed, label in enumerate(labels)]))
    options = {"blocks": 1, "width": 4, "dropout": 0.5}
    rows, validation = np.arange(24), None
    if choices.get("inner_validation"):
        rows = np.repeat(np.arange(18), [2] * 6 + [1] * 12)
        validation = ValidationImages(np.arange(18, 24), labels[18:])
    return FitJob(
        member=MemberConfig("tiny", image_size=16, epochs=4, options=options),
        training=TrainingConfig(batch_size=4, **choices),
        fold=0,
        seed=3,
        n_classes=2,
        images=images,
        pixels="",
        train=FoldImages(rows, labels[rows], labels[rows], validation),
        predict_rows=np.arange(5),
        weights=folder / "members" / "tiny" / "fold0.safetensors",
    )


KILLED_FITS = """
import json, os, signal, sys
from pathlib import Path
import lightning.fabric  # here, and not in each of the processes below
from base_models.training import fit
from base_models.training import trainer
from tests.base_models.training.test_fit import CASES, small_job

own_seed = trainer._batch_seed

def dying_seed(seed, number, *arguments):
    if number == batch:
        os.kill(os.getpid(), signal.SIGKILL)
    return own_seed(seed, number, *arguments)

trainer._batch_seed = dying_seed
for name, (choices, batches) in CASES.items():
    job = small_job(Path(sys.argv[1]) / name, **choices)
    for batch in batches:  # each in a process of its own, forked before torch has trained anything
        if (child := os.fork()) == 0:
            fit.run_fit(job, resume=True)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert job.checkpoint.is_file() and not fit.is_finished(job)
"""

EVERYTHING = {
    "ema": 0.9,
    "mixup": 0.3,
    "gradient_accumulation": 4,
    "gradient_clip": 0.5,
    "schedule": "cosine",
    "loss": "focal",
    "inner_validation": 0.25,
    "early_stopping": 3,
}


CASES = {"default": ({}, [15]), "everything": (EVERYTHING, [9, 23])}
"""Choices, and the batches at which a fit is killed, one after the other: each in the middle of an epoch."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what killed fits of all cases have left."""
    folder = tmp_path_factory.mktemp("killed")
    process = subprocess.run(
        [sys.executable, "-c", KILLED_FITS, folder], check=False, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.parametrize("case", CASES)
def test_a_killed_fit_resumes_to_the_same_bits(tmp_path: Path, killed: Path, case: str) -> None:
    choices, _ = CASES[case]
    whole, resumed = small_job(tmp_path / "whole", **choices), small_job(killed / case, **choices)
    reference = run_fit(whole)
    counted: list[int] = []
    result = run_fit(resumed, resume=True, on_epoch=lambda: counted.append(1))
    assert 1 <= len(counted) < 4
    assert result.epoch_losses == reference.epoch_losses
    np.testing.assert_array_equal(result.logits, reference.logits)
    assert result.inner_score == reference.inner_score
    assert (result.inner_score is None) == ("early_stopping" not in choices)
    assert _tensors(resumed) == _tensors(whole)
    assert [file.name for file in resumed.weights.parent.iterdir()] == ["fold0.safetensors"]


def test_logits_that_are_not_finite_are_told_as_a_training_that_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.full((5, 2), np.nan, np.float32)
    monkeypatch.setattr(
        "base_models.training.fit.view_outputs", lambda *_, **__: ViewOutputs(nothing, nothing)
    )
    with pytest.raises(
        ValueError, match=r"member 'tiny' to give finite logits.*lower training.learning_rate"
    ):
        run_fit(small_job(tmp_path))


def _tensors(job: FitJob) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in load_tensors(job.weights)[0].items()}


class _Stop(Exception):  # noqa: N818  # no error: it stands for the moment of an interruption
    pass


def _stop_after(epochs: int):
    done: list[int] = []

    def count() -> None:
        done.append(1)
        if len(done) == epochs:
            raise _Stop

    return count


def test_a_checkpoint_of_another_fit_or_a_damaged_one_is_not_resumed_from(tmp_path: Path) -> None:
    whole = small_job(tmp_path / "whole")
    run_fit(whole)
    job = small_job(tmp_path / "other")
    for damage in ("other", "bytes", "fresh"):
        job.weights.unlink(missing_ok=True)
        with pytest.raises(_Stop):
            run_fit(replace(job, seed=9) if damage == "other" else job, on_epoch=_stop_after(2))
        if damage == "bytes":
            content = job.checkpoint.read_bytes()
            job.checkpoint.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        counted: list[int] = []
        run_fit(job, resume=damage != "fresh", on_epoch=lambda counted=counted: counted.append(1))
        assert len(counted) == 4  # from the beginning
        assert _tensors(job) == _tensors(whole)


def test_a_fit_that_was_about_to_stop_early_trains_no_further(tmp_path: Path) -> None:
    choices = {"inner_validation": 0.25, "early_stopping": 1, "schedule": "constant", "learning_rate": 1e-12}
    whole, job = small_job(tmp_path / "whole", **choices), small_job(tmp_path / "stopped", **choices)
    epochs = len(run_fit(whole).epoch_losses)
    with pytest.raises(_Stop):
        run_fit(job, on_epoch=_stop_after(epochs))
    assert run_fit(job, resume=True).epoch_losses == read_facts(whole.weights)["epoch_losses"]
    assert _tensors(job) == _tensors(whole)


def test_a_fit_stopped_behind_its_last_epoch_only_writes_its_weights(tmp_path: Path) -> None:
    whole, job = small_job(tmp_path / "whole", ema=0.5), small_job(tmp_path / "late", ema=0.5)
    run_fit(whole)
    with pytest.raises(_Stop):
        run_fit(job, on_epoch=_stop_after(4))
    run_fit(job, resume=True)
    assert _tensors(job) == _tensors(whole)


@pytest.mark.parametrize("choices", [{}, {"inner_validation": 0.25}])
def test_a_training_that_diverges_is_named_and_leaves_no_weights(
    tmp_path: Path, choices: dict[str, object]
) -> None:
    job = small_job(tmp_path, learning_rate=10.0, weight_decay=10.0, precision="fp32", **choices)
    with pytest.raises(ValueError, match=r"'tiny' to converge, got .* epoch \d; take a lower"):
        run_fit(job)
    assert not job.weights.exists()


def test_finished_weights_that_were_damaged_are_trained_again(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    run_fit(job)
    whole, content = _tensors(job), job.weights.read_bytes()
    assert is_finished(job)
    job.weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not is_finished(job)
    run_fit(job, resume=True)
    assert _tensors(job) == whole


def test_what_a_kill_in_the_middle_of_a_file_leaves_is_removed(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    job.weights.parent.mkdir(parents=True)
    for file in (job.checkpoint, job.weights):
        file.with_name(f".{file.name}.x1y2").write_bytes(b"half")  # as `replacing` names it
    others = job.weights.with_name(".fold1.safetensors.x1y2")
    others.write_bytes(b"half")
    run_fit(job)
    assert set(job.weights.parent.iterdir()) == {job.weights, others}


def test_weights_tell_which_images_they_and_their_pretrained_ones_were_trained_on(tmp_path: Path) -> None:
    first = replace(small_job(tmp_path / "first"), pixels="p1", files=("f1",))
    run_fit(first)
    member = replace(first.member, epochs=1, init_weights=str(first.weights))
    second = replace(small_job(tmp_path / "second"), member=member, pixels="p2", files=("f2",))
    run_fit(second)
    assert read_facts(first.weights)["learned_from"] == ["f1", "p1"]
    assert read_facts(second.weights)["learned_from"] == ["f1", "f2", "p1", "p2"]


def test_what_decides_the_bits_is_recorded(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    run_fit(job)
    facts = read_facts(job.weights)
    assert (facts["threads"], facts["fingerprint"]) == (1, job.fingerprint)
    assert facts["precision"] in {"bf16-mixed", "32-true"}


def test_initial_weights_from_a_file_are_used_and_fingerprinted(tmp_path: Path) -> None:
    first = small_job(tmp_path / "first")
    run_fit(first)
    member = replace(first.member, epochs=1, init_weights=str(first.weights))
    second = replace(small_job(tmp_path / "second", learning_rate=1e-9), member=member)
    run_fit(second)
    before, after = load_tensors(first.weights)[0], load_tensors(second.weights)[0]
    np.testing.assert_allclose(before["conv1.weight"].numpy(), after["conv1.weight"].numpy(), atol=1e-6)
    fingerprint = second.fingerprint
    first.weights.write_bytes(b"other weights")
    assert second.fingerprint != fingerprint
    assert asdict(member)["init_weights"]


def test_a_network_takes_radiographs_as_its_format_says_in_training_and_prediction(tmp_path: Path) -> None:
    choices = {"inner_validation": 0.25, "augmentation": "none"}
    job = replace(small_job(tmp_path / "known", **choices), input_format=IMAGENET.one_plane)
    result = run_fit(job)
    images = np.load(job.images)
    network = load_weights(new_network(job.member, 2), job.weights)
    expected = view_logits(network, images, job.predict_rows, 16, IMAGENET.one_plane)
    assert result.logits == pytest.approx(expected, abs=1e-5)  # a fit chooses kernels for its precision
    assert not np.allclose(expected, view_logits(network, images, job.predict_rows, 16))
    assert result.input_format == IMAGENET.one_plane
    scored = view_logits(network, images, job.train.validation.rows, 16, IMAGENET.one_plane)
    assert result.inner_score is not None
    assert result.inner_score.loss == pytest.approx(score(scored, job.train.validation.labels).loss, rel=1e-6)
    assert read_facts(job.weights)["input_format"] == json.loads(json.dumps(asdict(IMAGENET.one_plane)))
    other = run_fit(small_job(tmp_path / "other", **choices))
    assert result.epoch_losses[0] != other.epoch_losses[0]


def test_a_specialist_learns_from_all_then_hardly_from_other_parts() -> None:
    parts = np.array([0, 0, 1, 2, 2, 2])
    images = FoldImages(np.arange(6), np.array([0, 1, 0, 1, 0, 1]), parts, None)
    generalist = replace(JOB, train=images)
    assert generalist.image_weights.shape == (1, 6)
    training = replace(generalist.training, other_parts=0.25)
    specialist = replace(generalist, own_parts=(0, 1), training=training)
    early, late = specialist.image_weights
    np.testing.assert_allclose(early, generalist.image_weights[0])
    np.testing.assert_allclose((late / early)[3:] / (late / early)[0], 0.25, rtol=1e-6)
    assert late.mean() == pytest.approx(early.mean())
    assert specialist.fingerprint != generalist.fingerprint
