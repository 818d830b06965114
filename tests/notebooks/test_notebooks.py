"""The notebooks run from start to end, and what they show in the repository is what they show when run."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = ("01_train_base_models", "02_swap_weighting_agents", "03_benchmark_against_uniform")
PATIENCE = 1800
"""Seconds a cell, or the start of the kernel, may take: how busy the machine is says nothing of the page."""
PATHS = [FOLDER / f"{name}.ipynb" for name in NAMES]
SHORTER = {
    "n_patients=320": "n_patients=120",
    "epochs=12": "epochs=1",
    "total_steps=10_000": "total_steps=1_000",
    "seeds=range(10)": "seeds=range(2)",
    '"total_steps": 5_000': '"total_steps": 500',
}
"""What is written shorter, so that a notebook takes seconds: it prints as many lines."""


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell):
    """What a cell shows as text: streams and results, without pictures."""
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            texts.append(output.text)
        elif "image/png" not in output.data:
            texts.append(output.data["text/plain"])
    return "".join(texts)


def pictures(cell):
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def test_every_notebook_is_tested():
    assert sorted(FOLDER.glob("*.ipynb")) == sorted(PATHS)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_kept_outputs_are_whole_and_clean(path):
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(pictures(cell) for cell in cells) >= 2
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")
        text = printed(cell)
        assert not re.search(r"(?<![\w/])/(home|root|tmp|work|Users|usr)/", text), text
        assert "Warning" not in text


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_links_lead_to_notebooks(path):
    prose = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", prose)
    assert links
    assert all((FOLDER / link).is_file() for link in links)


def test_what_is_written_shorter_is_in_the_notebooks():
    sources = "".join(cell.source for path in PATHS for cell in code_cells(read(path)))
    assert all(words in sources for words in SHORTER)


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_it_runs_and_shows_what_is_kept(path, whole, tmp_path):
    kept, fresh = read(path), read(path)
    for cell in code_cells(fresh):
        cell.outputs = []
        for words, shorter in () if whole else SHORTER.items():
            cell.source = cell.source.replace(words, shorter)
    resources = {"metadata": {"path": str(tmp_path)}}  # nothing is written into the repository
    NotebookClient(
        fresh, kernel_name="python3", timeout=PATIENCE, startup_timeout=PATIENCE, resources=resources
    ).execute()
    for before, after in zip(code_cells(kept), code_cells(fresh), strict=True):
        assert not any(output.get("name") == "stderr" for output in after.outputs), after.outputs
        assert pictures(after) == pictures(before), after.source
        # figures may differ from one processor to the next, so that the words around them may too
        assert printed(after).count("\n") == printed(before).count("\n"), after.source
