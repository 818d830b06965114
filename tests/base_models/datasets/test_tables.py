import csv
from pathlib import Path

import pytest

from base_models.datasets import open_dataset
from base_models.datasets.tables import open_table
from mura_env.errors import UserError

TEXT = 'path,label\r\nimagé.png,"1\r\n2"\r\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_text_comes_as_it_stands_with_or_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(TEXT.encode(encoding))
    with open_table(file) as stream:
        assert stream.read() == TEXT  # line ends too: those within a value belong to it
    with open_table(file) as stream:
        assert list(csv.reader(stream)) == [["path", "label"], ["imagé.png", "1\r\n2"]]
    assert stream.closed


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused_with_the_name_of_the_file(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(TEXT.encode(encoding))
    with (
        pytest.raises(
            ValueError, match=r"^expected a table in UTF-8 in .*table\.csv, got 'utf-8' codec .*; save it"
        ),
        open_table(file) as stream,
    ):
        stream.read()


def test_what_the_reader_of_tables_refuses_is_refused_with_the_name_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text('"' + "x" * (csv.field_size_limit() + 1))
    with (
        pytest.raises(
            ValueError, match=r"^expected a table in UTF-8 in .*table\.csv, got field larger .*; save it"
        ),
        open_table(file) as stream,
    ):
        list(csv.reader(stream))


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"table\.csv"), open_table(tmp_path / "table.csv"):
        pass
    (tmp_path / "table.csv").touch()
    with pytest.raises(ZeroDivisionError), open_table(tmp_path / "table.csv"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["a.png,s,,KNEE,0"], "a value for patient_id in line 2 .*; no row of the table can be used"),
        (
            ["../a.png,s,p,KNEE,no", "../b.png,t,q,KNEE,yes"],
            r"'../a.png' in line 2, which leaves it; .* \(the first of 2 such sentences\); no row",
        ),
        (["a.png,s,p,KNEE,?"], "a class as label .*; no row of the table can be used"),
    ],
)
def test_a_table_without_a_usable_row_is_refused(tmp_path: Path, rows: list[str], sentence: str) -> None:
    table = ["path,study_id,patient_id,body_part,label", *rows]
    (tmp_path / "studies.csv").write_text("\n".join(table) + "\n")
    for check in (True, False):  # without, `mura check-data` would count no study of two invented classes
        with pytest.raises(UserError, match=sentence):
            open_dataset(tmp_path, check=check)
