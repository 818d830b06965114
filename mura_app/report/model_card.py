"""`MODEL_CARD.md`: what a run's weighting is for, what it was measured on, how well it does, and its limits.

After M. Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019 (arXiv:1810.03993).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from agents.registry import BASELINE
from mura_app.report.claim import claim_facts
from mura_app.report.html_page import resource
from mura_app.report.numbers import estimate, number
from mura_app.report.sections import further_comparisons, group_name, learned_agents, reasons, verdict
from mura_env.class_order import positive_words
from mura_env.utils.text import printable

Document = Mapping[str, Any]

_MARKUP = re.compile(
    r"[\\|*`\[\]~$@]"
    r"|<(?=[A-Za-z/!?])"  # a lone "<", as in p < 0.001, opens no tag
    r"|&(?=[A-Za-z#])|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=[wW]{3})\."
)
_LINE_START = re.compile(r"^( ?\d*)([#>=]|-(?=[ -]|$)|\+(?= |$)|(?<=\d)[.)](?= |$))")
"""A heading, quotation, underline or list."""


def render_model_card(
    document: Document,
    *,
    title: str,
    settings: Document,
    training: Document | None,
    explained: Document | None = None,
) -> str:
    """Return the card as Markdown; `training` is None where the tables came from elsewhere.

    `explained` is what `mura_app.inference.measure` has measured, if it has.
    """
    environment = jinja2.Environment(  # noqa: S701 - Markdown, not HTML: every value goes through `finalize`
        finalize=escape_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(resource("mura_app.report", "model_card.jinja"))
    agents, protocol = document["agents"], document["protocol"]
    return template.render(
        title=title,
        **verdict(document),
        models=protocol["model_names"],
        class_names=protocol["class_names"],
        positive=positive_words(protocol["class_names"]),
        protocol=protocol,
        agents=agents,
        rows={**agents, **document["controls"]},
        shown=[BASELINE, *learned_agents(document), *document["controls"]],
        reasons=reasons(document),
        group=group_name(document),
        n_studies=document["n_studies"],
        seeds=document["seeds"],
        contested_share=document["contested_share"],
        **further_comparisons(document),
        training=training,
        explained=explained,
        evaluated_run=Path(settings.get("evaluated_run") or "").name,
        claim=claim_facts(document, settings, training),
        estimate=estimate,
        difference=_difference,
        percent=lambda share: f"{100 * share:.1f} %",
        weights=_weights,
        options=_options,
    )


def escape_markdown(value: object) -> str:
    """Return a value as text that stays on its line, and in its cell, and is not taken for any markup.

    Of GitHub's dialect, too: formulas, and addresses that become links by themselves.
    """
    text = printable(re.sub(r"\s+", " ", str(value)))
    text = _MARKUP.sub(r"\\\g<0>", text)
    return _LINE_START.sub(r"\1\\\2", text)


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
