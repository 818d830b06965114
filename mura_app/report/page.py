"""Assembles the page: verdict, tables, pictures, protocol."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mura_app.report import sections
from mura_app.report.sections import Document
from mura_env.utils.files import replacing


def write_report(
    path: Path,
    document: Document,
    *,
    title: str,
    settings: Document,
    thumbnails: Mapping[str, str] | None = None,
) -> None:
    """Writes `report.html`, one page that needs no network.

    Args:
        path: The file to write, atomically.
        document: What `benchmark.json` holds.
        title: What the report is about, such as the data set's name.
        settings: What `config.json` holds.
        thumbnails: Study id → picture as a `data:` address, for the changed verdicts; none by default.
    """
    page = render_page(document, title=title, settings=settings, thumbnails=thumbnails)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        # names of files need not be UTF-8
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def render_page(
    document: Document, *, title: str, settings: Document, thumbnails: Mapping[str, str] | None = None
) -> str:
    """The page as text; arguments as in `write_report`."""
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(_resource("page.jinja"))
    return template.render(
        title=title,
        facts=_facts(document),
        style=Markup(_resource("page.css")),  # noqa: S704 - the project's own file
        script=Markup(_resource("page.js")),  # noqa: S704 - the project's own file
        protocol=_protocol(document),
        settings=json.dumps({**settings, "agent_options": _options(document)}, indent=2),
        **sections.verdict(document),
        **sections.figure_tables(document),
        **sections.further_comparisons(document),
        **sections.pictures(document),
        **sections.curve_pictures(document),
        **sections.behaviour_sections(document, thumbnails or {}),
    )


def _options(document: Document) -> dict[str, Any]:
    """Each agent's options, of a benchmark that knows them."""
    return {name: row["options"] for name, row in document["agents"].items() if "options" in row}


def _facts(document: Document) -> str:
    protocol = document["protocol"]
    return (
        f"{document['n_studies']:,} test studies of {protocol['n_test_patients']:,} patients · "
        f"{len(protocol['model_names'])} members · {len(document['seeds'])} seeds · members disagree on "
        f"{100 * document['contested_share']:.0f} % of the studies"
    )


def _protocol(document: Document) -> list[str]:
    protocol = document["protocol"]
    lines = [
        f"Agents learn from {protocol['n_train_studies']:,} out-of-fold studies of "
        f"{protocol['n_train_patients']:,} patients; the members disagree on "
        f"{100 * protocol['train_contested_share']:.0f} % of them. The test table is scored once.",
        f"Intervals: 95 %, by patient; where they are bootstrapped, with {protocol['bootstrap_resamples']:,} "
        "resamples.",
        *protocol["notes"],
        f"Members: {', '.join(protocol['model_names'])}. Classes: {', '.join(protocol['class_names'])}. "
        f"Seeds: {', '.join(map(str, document['seeds']))}.",
    ]
    if "holm_family" in protocol:
        lines.insert(2, f"Holm's correction is over {', '.join(protocol['holm_family'])}.")
    return lines


def _resource(name: str) -> str:
    return resources.files("mura_app.report").joinpath(name).read_text(encoding="utf-8")
