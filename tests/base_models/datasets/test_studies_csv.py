from pathlib import Path

import pytest

from base_models.audit import audit_dataset
from base_models.datasets import open_dataset
from tests.base_models.trees import picture, save_picture

HEADER = "path,study_id,patient_id,body_part,label"


def _write(root: Path, rows: list[str], header: str = HEADER) -> Path:
    for number, row in enumerate(rows):
        name = row.split(",")[0].strip().replace("\0", "")
        if name and not name.startswith(("/", "..")):
            save_picture(root / name, picture(number))
    root.mkdir(parents=True, exist_ok=True)
    (root / "studies.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return root


def _rows(n_patients: int = 12, labels: tuple[str, ...] = ("0", "1")) -> list[str]:
    return [
        f"images/p{patient}v{view}.png,s{patient},p{patient},KNEE,{labels[patient % len(labels)]}"
        for patient in range(n_patients)
        for view in range(1 + patient % 2)
    ]


def test_the_index_is_what_the_table_says(tmp_path: Path) -> None:
    rows = [f"{row},{'test' if 'p1' in row or 'p2' in row else 'train'}" for row in _rows(8) if "v0" in row]
    dataset = open_dataset(_write(tmp_path, rows, HEADER + ",split"))
    assert (dataset.name, dataset.class_names) == ("studies.csv", ("normal", "abnormal"))
    for row, study in zip(rows, dataset.studies, strict=True):
        path, study_id, patient, part, label, split = row.split(",")
        assert study.image_paths == (tmp_path / path,)
        assert (study.study_id, study.patient_id, study.body_part) == (study_id, patient, part)
        assert (study.label, study.split) == (int(label), split)


def test_without_a_split_patients_are_drawn(tmp_path: Path) -> None:
    root = _write(tmp_path, _rows(40))
    dataset = open_dataset(root, seed=1)
    assert [len(study.image_paths) for study in dataset.studies] == [1, 2] * 20
    assert len(dataset.of_split("test")) == 10
    assert open_dataset(root, seed=1) == dataset
    assert open_dataset(root, seed=2) != dataset


def test_labels_may_be_names_with_the_normal_one_first(tmp_path: Path) -> None:
    dataset = open_dataset(_write(tmp_path, _rows(24, ("arthrosis", "Normal", "fracture"))))
    assert dataset.class_names == ("Normal", "arthrosis", "fracture")
    assert dataset.studies[0].label == 1
    numbers = open_dataset(_write(tmp_path / "numbers", _rows(24, ("0", "1", "2"))))
    assert numbers.class_names == ("class0", "class1", "class2")


@pytest.mark.parametrize(
    ("labels", "first", "remark"),
    [
        (("fracture", "no fracture"), "no fracture", ""),
        (("Fracture", "healthy"), "healthy", ""),
        (
            ("1", "2"),
            "1",
            "Of the classes '1' and '2' the greater number is taken for the positive one; --positive ",
        ),
        (
            ("sprain", "break", "Bruch"),
            "Bruch",
            "None of the classes 'Bruch', 'break', 'sprain' alone says that ",
        ),
        (("0", "1", "3"), "class0", "The labels are numbers with gaps, '0', '1', '3': each is a class."),
        (("0", "7"), "0", "The labels are numbers with gaps, '0' and '7': each is a class."),
    ],
)
def test_labels_that_do_not_say_which_is_normal_are_a_remark(
    tmp_path: Path, labels: tuple[str, ...], first: str, remark: str
) -> None:
    dataset = open_dataset(_write(tmp_path, _rows(24, labels)))
    assert dataset.class_names[0] == first
    for label, study in zip(labels, dataset.studies, strict=False):
        assert dataset.class_names[study.label] in {label, f"class{label}"}
    if not remark:
        assert dataset.remarks == ()
        return
    (found,) = dataset.remarks
    assert found.startswith(remark)
    # What check-data, train and run show.
    assert audit_dataset(dataset)["dataset"]["remarks"] == list(dataset.remarks)


def test_numbers_decide_which_class_is_normal(tmp_path: Path) -> None:
    dataset = open_dataset(_write(tmp_path, _rows(24)))
    assert (dataset.class_names, dataset.remarks) == (("normal", "abnormal"), ())


def test_links_in_a_circle_are_found_unreadable(tmp_path: Path) -> None:
    root = _write(tmp_path, [*_rows(), "more/a.png,s99,p99,KNEE,1"])
    (root / "more" / "a.png").unlink()
    (root / "more" / "a.png").symlink_to("a.png")
    (found,) = audit_dataset(open_dataset(root))["problems"]["unreadable"]
    assert found["path"] == "more/a.png"


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "images/../../secret.png", "link/a.png"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "data"
    rows = _rows()
    _write(root, rows)
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "studies.csv").write_text("\n".join([HEADER, *rows, f"{path},s99,p99,KNEE,1"]) + "\n")
    with pytest.raises(ValueError, match=r"got '.*' in line 20, which leaves it"):
        open_dataset(root)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (
            _rows(),
            "path,study_id,patient_id,label,part",
            "got 'path,.*,part', which lacks body_part; complete",
        ),
        (
            _rows(),
            "path|study_id|patient_id|body_part|label",
            r"got 'path\|study_id\|.*', which lacks path, study_id.*; separate its values with commas",
        ),
        (
            _rows(),
            "case;patient;region",
            "got 'case;patient;region', which lacks path.*or name its columns so",
        ),
        (_rows(), "path," * 10**5, "got 'path,path,.*,…', which lacks study_id"),
        (["a.png,s,p,KNEE, left,1"], HEADER, "expected 5 values in line 2 .* quotation marks"),
        (["a.png,s,,KNEE,1"], HEADER, "expected a value for patient_id in line 2"),
        (["a.png,s,p,KNEE"], HEADER, "expected a value for label in line 2"),
        (["a.png,s,p,KNEE,1", "b.png,s,q,KNEE,1"], HEADER, "expected one patient_id for study 's'.*line 3"),
        (["a.png,s,p,KNEE,1", "a.png,t,q,KNEE,0"], HEADER, "'a.png' in lines 2 and 3"),
        (
            ["a.png,s,p,KNEE,1,dve"],
            HEADER + ",split",
            "one of the splits train, valid, test in .*, got 'dve'",
        ),
        (
            _rows(24, ("break", "Bruch")),
            HEADER,
            "which one is positive, got 'Bruch' and 'break'; answer with --pos",
        ),
        (_rows(24, ("2", "2")), HEADER, "studies of at least two classes in the train split, got only '2'"),
        ([], HEADER, "expected a row for each image"),
        (_rows(3), HEADER, "got an empty test split"),
    ],
)
def test_impossible_tables_are_refused(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_dataset(_write(tmp_path, rows, header))


def test_a_patient_on_both_sides_is_refused(tmp_path: Path) -> None:
    rows = [f"{row},train" for row in _rows()] + ["z.png,s99,p1,KNEE,1,test", "y.png,s98,p98,KNEE,0,test"]
    with pytest.raises(ValueError, match="got 1 on both, first 'p1'"):
        open_dataset(_write(tmp_path, rows, HEADER + ",split"))


@pytest.mark.parametrize("content", [b"path,study_id\xe9,\xff\n", b'path,"study\n' + b"x" * 200_000])
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "studies.csv").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"expected a table in UTF-8 in .*studies\.csv, got .*; save it as CSV"
    ):
        open_dataset(tmp_path)


def test_links_inside_the_folder_are_followed_and_listed_once(tmp_path: Path) -> None:
    root = _write(tmp_path / "data", _rows())
    (root / "alias").symlink_to(root / "images")
    table = (root / "studies.csv").read_text(encoding="utf-8-sig")
    first = table.splitlines()[1]
    linked = tmp_path / "link"
    linked.symlink_to(root)
    assert len(open_dataset(linked).studies) == 12
    (root / "studies.csv").write_text(
        table + first.replace("images/", "alias/").replace(",s0,", ",s99,") + "\n"
    )
    with pytest.raises(ValueError, match=r"expected each image once .* 'alias/p0v0.png' in lines 2 and 20"):
        open_dataset(root)


def test_every_fault_of_a_table_is_described(tmp_path: Path) -> None:
    rows = _rows()
    expected = open_dataset(_write(tmp_path / "whole", rows)).studies
    wrong = [
        ("b1.png,s91,,KNEE,1", "expected a value for patient_id in line {}"),
        ("b\0.png,s90,p90,KNEE,1", "expected a path in line {} of"),
        ("b2.png,s92,p92,KNEE, left,1", "expected 5 values in line {}"),
        ("../secret.png,s93,p93,KNEE,1", "got '../secret.png' in line {}, which leaves it"),
        (rows[0].replace(",s0,", ",s94,"), "in lines 2 and {}; leave one"),
    ]
    root = _write(tmp_path / "faulty", [*rows, *(row for row, _ in wrong)])
    with pytest.raises(
        ValueError, match=r"expected a value for .* \(and 4 more; `mura check-data` lists all\)"
    ):
        open_dataset(root)
    dataset = open_dataset(root, check=False)
    for line, ((_, words), fault) in enumerate(
        zip(wrong, dataset.contradictions, strict=True), start=2 + len(rows)
    ):
        assert words.format(line) in fault
    assert [(s.study_id, s.label, s.split, len(s.image_paths)) for s in dataset.studies] == [
        (s.study_id, s.label, s.split, len(s.image_paths)) for s in expected
    ]


def test_contradicting_rows_and_gaps_are_described(tmp_path: Path) -> None:
    rows = ["a.png,s,p,KNEE,0,train", "b.png,s,q,HAND,7,dve", "c.png,s,q,KNEE,7,test"]
    dataset = open_dataset(_write(tmp_path, rows, HEADER + ",split"), check=False)
    words = ["one of the splits", "patient_id", "label", "split"]
    for word, fault in zip(words, dataset.contradictions, strict=True):
        assert f"expected {word}" in fault or f"expected one {word} for study 's'" in fault
    assert [path.name for path in dataset.studies[0].image_paths] == ["a.png", "c.png"]


def test_a_column_that_comes_twice_is_refused(tmp_path: Path) -> None:
    root = _write(tmp_path, [f"{row},1" for row in _rows()], HEADER + ",label")
    with pytest.raises(ValueError, match=r"expected each column once in .*, got label twice"):
        open_dataset(root)


def test_a_quotation_mark_that_is_not_closed_swallows_no_rows(tmp_path: Path) -> None:
    rows = _rows(40)
    for number, change in ((20, ["KNEE", '"KNEE']), (24, ["KNEE", 'KNEE"'])):
        rows[number] = rows[number].replace(*change)
    root = _write(tmp_path, rows)
    with pytest.raises(ValueError, match=r"expected a body_part in one line .* mark that is not closed"):
        open_dataset(root)


@pytest.mark.parametrize("name", ["valid", "val", "Validation", "dev"])
def test_a_validation_split_is_learned_from_with_a_remark_and_never_scored(tmp_path: Path, name: str) -> None:
    splits = ("Train", name, "testing")
    rows = [f"{row},{splits[i % 3]}" for i, row in enumerate(r for r in _rows(24) if "v0" in r)]
    dataset = open_dataset(_write(tmp_path, rows, HEADER + ",split"))
    scored = {study.study_id for study in dataset.of_split("test")}
    assert scored == {row.split(",")[1] for row in rows if row.endswith("testing")}
    (remark,) = dataset.remarks
    assert remark.startswith("The 8 studies of the validation split are learned from, and never scored")
    without = [row for row in rows if not row.endswith("testing")]
    with pytest.raises(ValueError, match=r"empty test split; .* \(validation studies are never scored\)"):
        open_dataset(_write(tmp_path / "without", without, HEADER + ",split"))


@pytest.mark.parametrize(
    ("labels", "classes", "remarks"),
    [
        (("Normal", "normal", "Abnormal", "abnormal "), ("Normal", "Abnormal"), 1),
        (("0", "1", "0.0", "1.0"), ("normal", "abnormal"), 0),
        (("keine", "Fraktur", "FRAKTUR", "Keine"), ("keine", "Fraktur"), 1),
        (("auff\u00e4llig", "auffa\u0308llig", "unauff\u00e4llig", "unauffa\u0308llig"), None, 1),
        (("no  fracture", "fracture", "no fracture", "Fracture"), ("no  fracture", "fracture"), 1),
    ],
)
def test_spellings_of_a_label_are_one_class(
    tmp_path: Path, labels: tuple[str, ...], classes: tuple[str, str] | None, remarks: int
) -> None:
    dataset = open_dataset(_write(tmp_path, _rows(24, labels)))
    assert len(dataset.class_names) == 2
    assert classes is None or dataset.class_names == classes
    assert len(dataset.remarks) == remarks
    assert all("spellings of one label" in remark for remark in dataset.remarks)


@pytest.mark.parametrize("label", ["-1", "-1.0", "uncertain", "Unknown", "NaN", "?"])
def test_a_label_that_is_none_is_named_with_its_lines(tmp_path: Path, label: str) -> None:
    dataset = open_dataset(_write(tmp_path, _rows(24, ("0", "1", label))), check=False)
    assert dataset.class_names == ("normal", "abnormal")
    (fault,) = dataset.contradictions
    assert (
        f"expected a class as label in {tmp_path / 'studies.csv'}, got {label.removesuffix('.0')!r}" in fault
    )
    assert "in 12 lines, first in line 5; leave these images out" in fault


def test_of_a_classifiers_two_labels_the_user_says_which_is_positive(tmp_path: Path) -> None:
    root = _write(tmp_path, _rows(24, ("-1", "1")))
    with pytest.raises(
        ValueError, match=r"which one is positive, got '-1' and '1'; answer with --positive 1"
    ):
        open_dataset(root)
    dataset = open_dataset(root, positive="1")
    assert dataset.class_names == ("-1", "1")
    assert [study.label for study in dataset.studies[:2]] == [0, 1]


@pytest.mark.parametrize(
    ("labels", "positive", "classes"),
    [
        (("cat", "dog"), "Cat", ("dog", "cat")),
        (("0", "1"), "0", ("normal", "abnormal")),
        (("2", "1"), "1", ("2", "1")),
    ],
)
def test_the_user_may_say_which_class_is_positive(
    tmp_path: Path, labels: tuple[str, str], positive: str, classes: tuple[str, str]
) -> None:
    dataset = open_dataset(_write(tmp_path, _rows(24, labels)), positive=positive)
    assert dataset.class_names == classes
    for i, study in enumerate(dataset.studies):
        assert study.label == (labels[i % 2].casefold() == positive.casefold())


def test_patients_and_studies_that_became_floats_stay_the_same(tmp_path: Path) -> None:
    rows = ["a.png,7,12,KNEE,0,train", "b.png,7.0,12.0,knee,0,train", "c.png,8,12.00,KNEE,1,test"]
    dataset = open_dataset(_write(tmp_path, rows, HEADER + ",split"), check=False)
    assert dataset.contradictions == ()
    assert [(s.study_id, s.patient_id, len(s.image_paths)) for s in dataset.studies] == [
        ("7", "12", 2),
        ("8", "12", 1),
    ]
    assert audit_dataset(dataset)["problems"]["patients_on_both_sides"] == ["12"]
    assert dataset.remarks == (
        "Different spellings of one body part are taken for the same: 'knee' for 'KNEE'.",
    )


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_tabs_and_windows_paths_are_read(tmp_path: Path, separator: str) -> None:
    root = _write(tmp_path, _rows())
    expected = open_dataset(root)
    table = (root / "studies.csv").read_text(encoding="utf-8-sig")
    (root / "studies.csv").write_text(table.replace(",", separator).replace("/", "\\"))
    assert open_dataset(root) == expected


@pytest.mark.parametrize("path", ["C:\\data\\a.png", "..\\a.png", "D:/a.png", "\\\\server\\share\\a.png"])
def test_a_windows_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    root = _write(tmp_path / "data", _rows())
    with (root / "studies.csv").open("a") as file:
        file.write(f"{path},s99,p99,KNEE,1\n")
    with pytest.raises(ValueError, match="in line 20, which leaves it"):
        open_dataset(root)


def test_a_backslash_in_a_files_name_stays_one(tmp_path: Path) -> None:
    dataset = open_dataset(_write(tmp_path, [*_rows(), "odd\\name.png,s99,p99,KNEE,1"]))
    assert dataset.studies[-1].image_paths == (tmp_path / "odd\\name.png",)
