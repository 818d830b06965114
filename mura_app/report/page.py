"""The page: verdict, tables, figures, protocol."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mura_app.report import sections
from mura_app.report.html_page import render_html, resource
from mura_app.report.sections import Document
from mura_env.class_order import positive_words
from mura_env.utils.files import write_text


def write_report(
    path: Path,
    document: Document,
    *,
    title: str,
    settings: Document,
    thumbnails: Mapping[str, str] | None = None,
) -> None:
    """Write `report.html`, one page that needs no network.

    Args:
        path: The file to write, atomically.
        document: What `benchmark.json` holds.
        title: What the report is about, such as the data set's name.
        settings: What `config.json` holds.
        thumbnails: Study id → image as a `data:` address, for the changed predictions; none by default.
    """
    write_text(path, render_page(document, title=title, settings=settings, thumbnails=thumbnails))


def render_page(
    document: Document, *, title: str, settings: Document, thumbnails: Mapping[str, str] | None = None
) -> str:
    """Return the page as text; arguments as in `write_report`."""
    options = {name: row["options"] for name, row in document["agents"].items()}
    return render_html(
        resource("mura_app.report", "page.jinja"),
        style=resource("mura_app.report", "page.css"),
        script=resource("mura_app.report", "page.js"),
        title=title,
        facts=_facts(document),
        protocol=_protocol(document),
        settings=json.dumps({**settings, "agent_options": options}, indent=2),
        **page_values(document, thumbnails),
    )


def page_values(document: Document, thumbnails: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what of the page comes from the benchmark's document: sentences, tables, figures."""
    return {
        **sections.verdict(document),
        **sections.figure_tables(document),
        **sections.further_comparisons(document),
        **sections.plots(document),
        **sections.curve_plots(document),
        **sections.behaviour_sections(document, thumbnails or {}),
    }


def _facts(document: Document) -> str:
    protocol = document["protocol"]
    return (
        f"{document['n_studies']:,} test studies of {protocol['n_test_patients']:,} patients · "
        f"{positive_words(protocol['class_names'])} · "
        f"{len(protocol['model_names'])} members · {len(document['seeds'])} seeds · members disagree on "
        f"{100 * document['contested_share']:.0f} % of the studies"
    )


def _protocol(document: Document) -> list[str]:
    protocol = document["protocol"]
    return [
        f"Agents learn from {protocol['n_train_studies']:,} out-of-fold studies of "
        f"{protocol['n_train_patients']:,} patients; the members disagree on "
        f"{100 * protocol['train_contested_share']:.0f} % of them. The test table is scored once.",
        f"Intervals: 95 %, by patient; where they are bootstrapped, with {protocol['bootstrap_resamples']:,} "
        "resamples.",
        f"Holm's correction is over {', '.join(protocol['holm_family'])}.",
        *protocol["notes"],
        f"Members: {', '.join(protocol['model_names'])}. Classes: {', '.join(protocol['class_names'])}. "
        f"Seeds: {', '.join(map(str, document['seeds']))}.",
    ]
