"""`MODEL_CARD.md`: what a run's weighting is for, what it was measured on, how well it does, and its limits.

After M. Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019 (arXiv:1810.03993).
"""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from agents.registry import BASELINE
from mura_app.report.claim import claim_facts
from mura_app.report.numbers import estimate, number
from mura_app.report.sections import further_comparisons, learned_agents, reasons, verdict

Document = Mapping[str, Any]


def render_model_card(
    document: Document, *, title: str, settings: Document, training: Document | None
) -> str:
    """Return the card as Markdown; `training` is None where the tables came from elsewhere."""
    # Markdown, not HTML: names are escaped by the filter `cell`, which keeps them inside their table cell
    environment = jinja2.Environment(  # noqa: S701
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = _cell
    template = environment.from_string(
        resources.files("mura_app.report").joinpath("model_card.jinja").read_text(encoding="utf-8")
    )
    agents, protocol = document["agents"], document["protocol"]
    answer = verdict(document)
    return template.render(
        title=_cell(title),
        overall=_cell(answer["overall"]),
        verdict=[_cell(sentence) for sentence in answer["verdict"]],
        repeats=[_cell(sentence) for sentence in answer["repeats"]],
        models=protocol["model_names"],
        class_names=protocol["class_names"],
        protocol=protocol,
        agents=agents,
        rows={**agents, **document["controls"]},
        shown=[BASELINE, *learned_agents(document), *document["controls"]],
        reasons=reasons(document),
        n_studies=document["n_studies"],
        seeds=document["seeds"],
        contested_share=document["contested_share"],
        **further_comparisons(document),
        training=training,
        evaluated_run=Path(settings["evaluated_run"]).name if "evaluated_run" in settings else "",
        claim=claim_facts(document, settings, training),
        estimate=estimate,
        difference=_difference,
        percent=lambda share: f"{100 * share:.1f} %",
        weights=_weights,
        options=_options,
    )


def _cell(text: str) -> str:
    """Return text that stays inside one cell of a Markdown table and is not taken for markup."""
    flat = " ".join(str(text).split())
    # a lone "<", as in p < 0.001, opens no tag
    return re.sub(r"[\\|*`]|<(?=[A-Za-z/!?])", r"\\\g<0>", flat)


def _difference(name: str, row: Mapping[str, Any]) -> str:
    if name == BASELINE:
        return "–"
    comparison = row["vs_uniform"]
    figure = {"mean": comparison["accuracy_difference"], "ci95": comparison["ci95"]}
    return estimate(figure, "+.1f", 100.0)


def _weights(row: Mapping[str, Any]) -> str:
    return ", ".join(number(weight, ".2f") for weight in row["weights"]["mean"])


def _options(member: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in member["options"].items()) or "defaults"
