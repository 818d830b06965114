"""Runs, packed folders and what is handed over, damaged, edited or put together of several: one sentence."""

import io
import json
import os
import re
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from agents import make_agent
from base_models.imaging.reader import ImageError
from base_models.storage import load_tensors, save_tensors
from mura_app import Ensemble
from mura_app.inference.facts import facts_of_run, read_measured, require_agreement, require_network
from mura_app.inference.pack import front_matter, own_file
from mura_app.inference.rows import RowWriter
from mura_app.inference.sources import read_radiograph
from mura_app.inference.unlike import TrainingImages
from mura_app.inference.upside_down import N_COLUMNS
from mura_app.main import run_command
from mura_app.prediction import FailedStudy
from mura_app.run_directory import RunDirectory
from mura_app.schema import EnsembleFacts
from mura_env import Predictions
from tests.mura_app.conftest import make_table

SCORED = {"threshold": {"mean": 0.4}, "is_bound": False}
BENCHMARK = {"seeds": [0], "agents": {"uniform": SCORED}, "cross_validated": {"agents": {}}}
SAVED = {"class_names": ["normal", "abnormal"], "body_part_names": ["HAND"]}


@pytest.fixture(scope="module")
def of_tables():
    """An ensemble of a benchmark of tables."""
    table = make_table(200, 0, "train")
    facts = EnsembleFacts(
        class_names=list(table.class_names),
        body_part_names=list(table.body_part_names),
        agent="static_per_body_part",
        seed=0,
        threshold=0.4,
        uniform_threshold=0.5,
        measured=None,
    )
    return Ensemble([], make_agent("static_per_body_part").fit(table, seed=0), facts)


@pytest.mark.parametrize(
    ("benchmark", "saved", "words"),
    [
        ({"seeds": []}, {}, "seeds should have at least 1 item"),
        ({"seeds": [-1]}, {}, "seeds.0 should be greater than or equal to 0"),
        ({"agents": {"ppo": SCORED}}, {}, "expected the agent 'uniform' in .*benchmark.json, got none"),
        ({"agents": {"uniform": SCORED | {"threshold": {"mean": 7}}}}, {}, "7.* where threshold should be"),
        ({"agents": {"../../x": SCORED}}, {}, "should match pattern"),
        ({}, {"class_names": "ab"}, "'ab' where class_names should be"),
        ({}, {"class_names": ["x"]}, "class_names should have at least 2"),
        ({}, {"class_names": None}, "None where class_names should be"),
        ({}, {"body_part_names": []}, "body_part_names should have at least 1"),
    ],
)
def test_edited_documents_of_a_run_are_one_sentence(tmp_path, benchmark, saved, words):
    (tmp_path / "agents" / "uniform-seed0").mkdir(parents=True)
    (tmp_path / "benchmark.json").write_text(json.dumps(BENCHMARK | benchmark))
    (tmp_path / "agents" / "uniform-seed0" / "agent.json").write_text(json.dumps(SAVED | saved))
    with pytest.raises(ValueError, match=words) as caught:
        facts_of_run(RunDirectory(tmp_path), None)
    assert type(caught.value).__name__ == "UserError"


HIT = {"name": "ensemble", "kind": "sum", "hits": [1], "random_hits": [0]}
RATES = {"n_images": 5, "margins": [0.0], "chance": [0.1], "median_box": 0.1, "maps": [HIT]}


@pytest.mark.parametrize(
    "change",
    [
        {"maps": []},
        {"n_images": 0},
        {"chance": []},
        {"margins": [], "chance": []},
        {"maps": [HIT | {"hits": []}]},
        {"maps": [HIT | {"hits": [6]}]},
        {"maps": [HIT | {"random_hits": [1, 2]}]},
    ],
)
def test_hits_that_do_not_fit_are_refused(tmp_path, change):
    file = tmp_path / "explanations.json"
    file.write_text(json.dumps({"hit_rates": RATES, "unlike": None}))
    assert read_measured(file).hit_rates.maps[0].hits == [1]
    file.write_text(json.dumps({"hit_rates": RATES | change, "unlike": None}))
    with pytest.raises(ValueError, match="hits that do not fit"):
        read_measured(file)


def test_members_agent_and_documents_of_several_runs_are_refused(of_tables, tmp_path):
    facts, agent = of_tables.facts, of_tables.agent

    def member(name, class_names=("normal", "abnormal")):
        return SimpleNamespace(
            config=SimpleNamespace(name=name), class_names=class_names, networks=(None,) * 2
        )

    members = [member("coarse"), member("fine")]
    require_agreement(tmp_path, members, agent, facts)
    require_agreement(tmp_path, [], agent, facts)
    swapped = facts.model_copy(update={"class_names": facts.class_names[::-1]})
    parts = facts.model_copy(update={"body_part_names": facts.body_part_names[::-1]})
    others = [members[0], member("fine", ("abnormal", "normal"))]
    for own, documents, what in (
        (members, swapped, "classes"),
        (others, facts, "classes"),
        (members, parts, "body parts"),
        (members[::-1], facts, "members"),
        (members[:1], facts, "members"),
    ):
        with pytest.raises(ValueError, match=f"of the same {what} in .*copy the folder whole"):
            require_agreement(tmp_path, own, agent, documents)
    for number, fold in ((0, 1), (1, 0), (-1, 0)):
        require_network(tmp_path, members, number, fold)
    for number, fold in ((2, 0), (0, 2), (0, -1), (-2, 0)):
        with pytest.raises(ValueError, match="got those of another"):
            require_network(tmp_path, members, number, fold)


def test_another_description_of_training_images_is_refused(tmp_path):
    drawn = np.random.default_rng(0).normal(size=(60, 3 + N_COLUMNS))
    held_out, parts = np.arange(60) % 3 == 0, ["A"] * 30 + ["B"] * 30
    whole = TrainingImages.fit(drawn, parts, held_out, np.arange(60), (0, 1))
    whole.save(tmp_path / "a")
    tensors, facts = load_tensors(tmp_path / "a")
    assert TrainingImages.load(tmp_path / "a").fold == 1
    with pytest.raises(ValueError, match=f"described by 4 numbers, got {3 + N_COLUMNS}"):
        whole.percentiles(np.zeros((1, 4)))
    changes = [{"mean": torch.zeros(2)}, {"scale": torch.zeros(3)}, {"part_means": torch.zeros(0, 3)}]
    changes += [
        {"whitening": torch.full((3, 3), torch.nan)},
        {"quantiles": torch.zeros(5)},
        {"x": torch.ones(1)},
    ]
    for change in changes:
        save_tensors(tensors | change, tmp_path / "b", facts)
        with pytest.raises(ValueError, match=r"what training images look like in .*b, got another file"):
            TrainingImages.load(tmp_path / "b")
    for change in ({"member": "0"}, {"fold": None}, {"folds": 1}):
        save_tensors(tensors, tmp_path / "b", facts | change)
        with pytest.raises(ValueError, match="got another file"):
            TrainingImages.load(tmp_path / "b")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"a": b"b"}, r"with no pack\.json in it"),
        ({"run/pack.json": b"{}"}, r"run/pack\.json in a folder; zip what is in it"),
        ({"pack.json": b"{}"}, r"packed folder of format 1 in \S*a\.zip, got format None"),
        ({"pack.json": b"{}", "members": b"x", "members/a": b"y"}, "names that no folder can have"),
        ({"pack.json": b"{}", "n" * 300: b"x"}, "names that no folder can have"),
        ({"pack.json": b"{}", "large": bytes(10**8)}, "whose files would take 100,000,002 bytes"),
    ],
)
def test_an_archive_that_is_none_of_a_packed_run_is_one_sentence(tmp_path, members, words):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    with pytest.raises(ValueError, match=words) as caught:
        Ensemble.load(tmp_path / "a.zip")
    assert not re.search(r"tmp\w{8}/", str(caught.value))  # the folder that it was unpacked in


def test_a_flipped_byte_in_an_archive_is_one_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("pack.json", json.dumps({"text": "x y z" * 50}))
    whole = (tmp_path / "a.zip").read_bytes()
    for place in range(0, len(whole), 5):
        (tmp_path / "b.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises((ValueError, OSError)) as caught:
            Ensemble.load(tmp_path / "b.zip")
        assert type(caught.value).__name__ == "UserError"


def test_what_a_link_leads_to_elsewhere_is_not_packed(tmp_path):
    run = tmp_path / "run"
    (run / "members").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    for name, target in (("out", tmp_path / "secret"), ("lost", tmp_path / "nowhere"), ("folder", tmp_path)):
        (run / "members" / name).symlink_to(target)
        with pytest.raises(OSError, match=r"a link that leads to .*; put what it leads to in its place"):
            own_file(run, run / "members" / name)
    os.mkfifo(run / "members" / "pipe")
    with pytest.raises(OSError, match="got the pipe"):
        own_file(run, run / "members" / "pipe")
    (run / "members" / "in").symlink_to(run / "weights")
    (run / "weights").write_text("y")
    assert own_file(run, run / "members" / "in").read_text() == "y"


def test_signs_that_yaml_does_not_know_are_written_as_escapes(of_tables):
    text = front_matter(of_tables, "'a'\x1b[31m", "terms:\n # 'x'\u2028\u202e")
    assert "license_name: 'terms: # ''x'' \\u202e'" in text
    assert "datasets: ['''a''\\x1b[31m']" in text


def test_pillow_images_keep_their_bits_and_unreadable_ones_are_one_sentence():
    ramp = np.tile(np.arange(0, 65536, 1024, dtype=np.uint16), (8, 1))
    expected = read_radiograph(ramp, "view 1", 8).grey
    for mode, kind in (("I;16", "<u2"), ("I;16B", ">u2"), ("I;16L", "<u2")):
        image = Image.frombytes(mode, (64, 8), ramp.astype(kind).tobytes())
        np.testing.assert_array_equal(read_radiograph(image, "view 1", 8).grey, expected)
    colours = np.dstack([ramp // 256] * 3)
    whole = read_radiograph(colours.astype(np.uint8), "view 1", 8).grey
    np.testing.assert_array_equal(read_radiograph(colours.astype(np.int64), "view 1", 8).grey, whole)
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90), dtype=np.uint8)).save(content, "PNG")
    with (
        Image.open(io.BytesIO(content.getvalue()[:4000])) as half,
        pytest.raises(ValueError, match="can be read"),
    ):
        read_radiograph(half, "view 1", 8)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.array([[object()]]), "got dtype object"),
        (np.array([["a"]]), "got dtype <U1"),
        (np.zeros((9, 9), complex), "got dtype complex128"),
        (np.zeros((9, 9), "M8[s]"), "got dtype datetime64"),
        (np.ma.array(np.zeros((9, 9)), mask=np.eye(9)), "got masked values"),
        (Image.new("L", (0, 0)), "expected an image with pixels"),
        (SimpleNamespace(save_as=lambda *_, **__: int("no")), "expected a whole DICOM data set"),
        (np.full((9, 9), np.nan), "grey values from nan"),
    ],
)
def test_arrays_that_hold_no_greys_are_refused(source, words):
    with pytest.raises((ValueError, ImageError), match=words):
        read_radiograph(source, "view 1", 8)


def test_body_parts_are_known_however_they_are_spelt_and_members_by_name(of_tables):
    table = make_table(40, 2, "new")
    expected = [each.probabilities for each in of_tables.predict_table(table)]
    other = Predictions.from_arrays(
        table.logits[:, ::-1, ::-1],
        None,
        [table.body_part_names[part].lower() for part in table.body_parts],
        study_ids=table.study_ids,
        model_names=table.model_names[::-1],
        class_names=table.class_names[::-1],
    )
    found = of_tables.predict_table(other)
    np.testing.assert_allclose([each.probabilities for each in found], expected, atol=1e-6)
    assert {each.body_part for each in found} <= {*table.body_part_names}


def test_an_interrupted_file_keeps_whole_rows_of_any_names_and_another_is_left_as_it_is(of_tables, tmp_path):
    names = ["a\u2028b", 'c"d', "e\nf", "e\rf", "g,h", "\x0ci"]
    for form in ("csv", "jsonl"):
        out = tmp_path / f"out.{form}"
        with RowWriter(of_tables, out, form, resume=False) as writer:
            for name in names:
                writer.write(FailedStudy(name, "why"))
        whole = out.read_bytes()
        part = tmp_path / f"out.{form}.part"
        out.unlink()
        for cut in (1, 4, 9, 40):
            part.write_bytes(whole[:-cut])
            done = RowWriter(of_tables, out, form, resume=True).done
            assert done == {*names[: len(done)]}
            assert whole.startswith(part.read_bytes())
        for text in (b"my notes\nmore", b"\xff\n", b'"' + b"x" * 200_000 + b'"\n', b"[" * 100_000 + b"\n"):
            part.write_bytes(text)
            with pytest.raises(ValueError, match="expected rows of this run"):
                RowWriter(of_tables, out, form, resume=True)
            assert part.read_bytes() == text
        part.unlink()
        os.mkfifo(part)
        with pytest.raises(OSError, match=f"got the pipe .*out.{form}.part; name another"):
            RowWriter(of_tables, out, form, resume=False)


def test_what_is_read_is_not_written_over(tmp_path, capsys):
    image, table = tmp_path / "a.png", tmp_path / "studies.csv"
    image.write_bytes(b"x")
    table.write_text("y")
    (tmp_path / "link.csv").symlink_to(table)
    for words in (
        f"{image} --overlay {image}",
        f"{image} --dicom {tmp_path}",
        f"--data {tmp_path} --out {table}",
        f"--data {table} --out {table}",
        f"--predictions {tmp_path / 'link.csv'} --out {table}",
    ):
        assert run_command(["predict", "--run", str(tmp_path), *words.split(), "--overwrite"]) == 2
        assert re.search("that is not read|without the radiographs", capsys.readouterr().err)
    assert (image.read_bytes(), table.read_text()) == (b"x", "y")
