"""Assembles the page: verdict, tables, pictures, protocol."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from mura_app.report.figures import body_part_plot, difference_plot, learning_curves, weights_heatmap
from mura_app.report.tables import agents_table, body_part_table, models_table
from mura_app.report.verdict import verdict_sentence, weights_sentence
from mura_env.atomic_files import replacing

Document = Mapping[str, Any]


def write_report(path: Path, document: Document, *, title: str, settings: Document) -> None:
    """Writes `report.html`, one page that needs no network.

    Args:
        path: The file to write, atomically.
        document: What `benchmark.json` holds.
        title: What the report is about, such as the data set's name.
        settings: What `config.json` holds.
    """
    page = render_page(document, title=title, settings=settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render_page(document: Document, *, title: str, settings: Document) -> str:
    """The page as text; arguments as in `write_report`."""
    agents = document["agents"]
    learned = [name for name, row in agents.items() if row["learns_by_reinforcement"]]
    others = [name for name, row in agents.items() if name != "uniform" and not row["is_bound"]]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        _resource("page.jinja")
    )
    return template.render(
        title=title,
        facts=_facts(document),
        style=Markup(_resource("page.css")),  # noqa: S704 - the project's own file
        script=Markup(_resource("page.js")),  # noqa: S704 - the project's own file
        verdict=[verdict_sentence(name, agents[name]["vs_uniform"]) for name in learned or others],
        protocol=_protocol(document),
        settings=json.dumps(settings, indent=2),
        **_tables(document, others),
        **_pictures(document, learned, others),
    )


def _tables(document: Document, others: list[str]) -> dict[str, Any]:
    agents, parts = document["agents"], document["protocol"]["body_part_names"]
    missing = {
        part: row["reason"] for part, row in agents["uniform"]["per_body_part"].items() if "reason" in row
    }
    return {
        "agents_table": Markup(agents_table(agents, document["controls"])),  # noqa: S704 - names are escaped there
        "models_table": Markup(models_table(document["models"])),  # noqa: S704 - as above
        "body_part_table": Markup(  # noqa: S704 - as above
            body_part_table(parts, {name: agents[name] for name in ("uniform", *others)})
        ),
        "missing": "; ".join(f"{part}: {reason}" for part, reason in missing.items()),
    }


def _pictures(document: Document, learned: list[str], others: list[str]) -> dict[str, Any]:
    agents, parts = document["agents"], document["protocol"]["body_part_names"]
    models = document["protocol"]["model_names"]
    comparisons = [agents[name]["vs_uniform"] for name in others]
    curves = {
        name: curve for name in learned if (curve := _curve(agents[name]["learning_curve"])) is not None
    }
    shown = [part for part in parts if agents["uniform"]["per_body_part"][part].get("weights") is not None]
    pictures: dict[str, Any] = {
        "difference_plot": difference_plot(
            others,
            [comparison["accuracy_difference"] for comparison in comparisons],
            [(comparison["ci95"][0], comparison["ci95"][1]) for comparison in comparisons],
        ),
        "body_part_plot": body_part_plot(
            parts,
            {
                name: [agents[name]["per_body_part"][part]["accuracy"]["mean"] for part in parts]
                for name in ("uniform", *(learned or others))
            },
        ),
        "learning_curves": learning_curves(curves) if curves else "",
    }
    marked: dict[str, Any] = {name: Markup(text) for name, text in pictures.items()}  # noqa: S704 - drawn here
    marked["weights"] = [
        Markup(  # noqa: S704 - drawn here
            weights_heatmap(
                name,
                shown,
                models,
                np.array([agents[name]["per_body_part"][part]["weights"]["mean"] for part in shown]),
            )
        )
        for name in (*learned, *(name for name in others if name not in learned))
    ]
    marked["weights_notes"] = [weights_sentence(name, document["weights_vary"][name]) for name in learned]
    return marked


def _curve(curve: Document | None) -> tuple[Any, Any, Any] | None:
    """Steps, mean accuracy and its standard deviation over seeds; None where the agent kept no curve."""
    if curve is None:
        return None
    accuracy = curve["accuracy"]
    return np.array(curve["steps"]), np.array(accuracy["mean"]), np.array(accuracy["seed_spread"])


def _facts(document: Document) -> str:
    protocol = document["protocol"]
    return (
        f"{document['n_studies']:,} test studies of {protocol['n_test_patients']:,} patients · "
        f"{len(protocol['model_names'])} members · {len(document['seeds'])} seeds · members disagree on "
        f"{100 * document['contested_share']:.0f} % of the studies"
    )


def _protocol(document: Document) -> list[str]:
    protocol = document["protocol"]
    return [
        f"Agents learn from {protocol['n_train_studies']:,} out-of-fold studies of "
        f"{protocol['n_train_patients']:,} patients; the members disagree on "
        f"{100 * protocol['train_contested_share']:.0f} % of them. The test table is scored once.",
        f"Intervals: 95 %, bootstrap by patient with {protocol['bootstrap_resamples']:,} resamples.",
        *protocol["notes"],
        f"Classes: {', '.join(protocol['class_names'])}. Seeds: {', '.join(map(str, document['seeds']))}.",
    ]


def _resource(name: str) -> str:
    return resources.files("mura_app.report").joinpath(name).read_text(encoding="utf-8")
