"""Sphinx builds these pages: `make docs`."""

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path

import mura_app
from mura_app.main import COMMANDS, run_command

HERE = Path(__file__).parent

project = "MURA RL Ensemble"
author = "the MURA RL Ensemble authors"
release = mura_app.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "schema"]
html_theme = "furo"
html_title = project
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the test suite runs the notebooks; the pages show what is stored in them
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
nitpicky = False
default_role = "code"
add_module_names = False
suppress_warnings = ["ref.python"]  # one class by two names: where it is written, and where it is offered


def _command_line() -> str:
    """Return the reference of the command line: what each command says to `--help`."""
    os.environ["COLUMNS"] = "96"
    os.environ["NO_COLOR"] = "1"
    parts = [
        "# Command line\n\nThis page is what each command says to `--help`. Its options are dataclasses "
        "that the code itself uses.\n"
    ]
    for name, words in COMMANDS.items():
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            run_command([name, *(["reinforce"] if name == "fit-agent" else []), "--help"])
        parts.append(f"## mura {name}\n\n{words}\n\n```text\n{text.getvalue().rstrip()}\n```\n")
    return "\n".join(parts)


def _generate(_: object) -> None:
    """Write the pages that are made of code, and bring the notebooks here."""
    (HERE / "reference" / "command-line.md").write_text(_command_line(), encoding="utf-8")
    tutorials = HERE / "tutorials"
    tutorials.mkdir(exist_ok=True)
    for notebook in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        shutil.copyfile(notebook, tutorials / notebook.name)


def setup(app: object) -> None:
    """Register what is done before the pages are read."""
    sys.stderr.flush()
    app.connect("builder-inited", _generate)  # type: ignore[attr-defined]  # Sphinx's application
