"""The page of a benchmark of consultation: what is earned, at what cost, and which members are asked."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mura_app.report.drawing import INK, PALETTE, Plot, figure, label, to_svg
from mura_app.report.html_page import render_html, resource
from mura_app.report.html_table import MISSING, Table, estimate_cell, html_table, number_cell, text_cell
from mura_app.report.numbers import estimate, number
from mura_env.class_order import positive_words

Document = Mapping[str, Any]

SHOWN_COST = 1 / 3
"""Which members are asked is shown where the reference spends about this share of the full cost."""


def render_consultation(document: Document, *, title: str, settings: Document) -> str:
    """Return the page as text.

    Args:
        document: What `consultation.json` holds.
        title: What the page is about.
        settings: What `config.json` holds.
    """
    price = _shown_price(document)
    return render_html(
        resource("mura_app.report", "consultation.jinja"),
        style=resource("mura_app.report", "page.css"),
        script=resource("mura_app.report", "page.js"),
        title=title,
        facts=_facts(document),
        verdict=verdict_sentences(document),
        near_full=near_full_sentence(document),
        pareto=pareto_plot(document),
        differences=difference_plot(document),
        main_table=_main_table(document),
        price_table=_price_table(document),
        asked_table=_asked_table(document, price),
        asked_at=f"{document['protocol']['prices'][price]:g}",
        worked=_worked(document),
        protocol=_protocol(document),
        settings=json.dumps(settings, indent=2),
    )


def verdict_sentences(document: Document) -> list[str]:
    """Say of each learned agent whether it is shown to earn more than the reference; only then it is."""
    sentences = []
    for name, row in document["agents"].items():
        if not row["learns_policy"] or row["vs_reference"] is None:
            continue
        figures = estimate(row["vs_reference"], "+.2f", 100.0, " (95 % interval {} to {})")
        low, high = row["vs_reference"]["ci95"] or (-1.0, 1.0)
        shown = "more" if low > 0 else "less" if high < 0 else ""
        said = f"it earns {shown} than" if shown else "no difference is shown from"
        sentence = f"{name}: {said} {document['reference']}, {figures} points, mean over prices"
        if row["kept_cascade"]:
            fits = "every fit" if row["kept_cascade"] == 1 else f"{row['kept_cascade']:.0%} of its fits"
            sentence += f"; in {fits} it is a cascade, because nothing learned was better on inner folds"
        sentences.append(f"{sentence}.")
    return sentences or ["No learned agent was compared."]


def near_full_sentence(document: Document) -> str:
    """Say at what cost the better of cascades and policies comes near the full ensemble's accuracy."""
    able = {
        name: row["near_full"]
        for name, row in document["agents"].items()
        if row["near_full"] and (row["learns_policy"] or "cascade" in name)
    }
    if not able:
        return "No cascade or policy comes within 0.2 points of the full ensemble's accuracy at these prices."
    name, near = min(able.items(), key=lambda item: float(item[1]["cost"]))
    difference = estimate(near["accuracy_difference"], "+.2f", 100.0, ", 95 % interval {} to {}")
    return (
        f"Within 0.2 points of the full ensemble's accuracy, the least cost is that of {name}: "
        f"{100 * near['cost']:.0f} % of the full ensemble's ({difference} points), at a price of "
        f"{near['price']:g}, which was read off the test table."
    )


def pareto_plot(document: Document) -> Plot:
    """Draw accuracy over cost, a point a price; intervals of the reference and of learned agents."""
    agents = document["agents"]
    with figure(6.4, 4.2) as (drawing, axes):
        words = []
        colours = iter(PALETTE * 3)
        for name, row in agents.items():
            cost, accuracy = _column(row, "cost"), _column(row, "accuracy")
            order = np.argsort(cost)
            is_main = row["learns_policy"] or name == document["reference"]
            colour = INK if name == document["reference"] else next(colours)
            style = "-" if is_main else ":"
            if np.ptp(cost) < 1e-9:  # a price changes nothing
                cost, accuracy, order = cost[:1], accuracy[:1], np.array([0])
            if is_main:
                ends = 100 * np.array([at["accuracy"]["ci95"] for at in row["by_price"]], dtype=np.float64)
                low, high = ends[: len(cost)].T
                axes.vlines(cost, low, high, color=colour, alpha=0.35, linewidth=1.6)
            axes.plot(
                cost[order],
                accuracy[order],
                f"o{style}",
                color=colour,
                linewidth=2 if is_main else 1.2,
                markersize=5 if is_main else 3.5,
                label=label(name),
            )
            places = [f"{a:.1f} at {c:.0f}" for c, a in zip(cost, accuracy, strict=True)]
            words.append(f"{name} {', '.join(places)}")
        axes.set_xlabel("cost, % of the full ensemble's")
        axes.set_ylabel("accuracy, %")
        axes.set_xlim(left=0)
        axes.grid()
        axes.set_axisbelow(True)
        axes.legend(loc="lower right", fontsize=9)
        return to_svg(drawing, "pareto", f"Accuracy at cost, both in %: {'; '.join(words)}")


def difference_plot(document: Document) -> Plot:
    """Draw what agents that ask adaptively earn more than the reference, at each price."""
    shown = [name for name, row in document["agents"].items() if row["learns_policy"]] or [
        name for name in document["agents"] if name not in {document["reference"], "full_ensemble"}
    ]
    with figure(6.4, 3.2) as (drawing, axes):
        axes.axhline(0, color=INK, linewidth=1)
        for position, name in enumerate(shown):
            rows = [at["vs_reference"] for at in document["agents"][name]["by_price"]]
            prices = np.array(document["protocol"]["prices"]) * 1.06 ** (position - (len(shown) - 1) / 2)
            ends = 100 * np.array([row["ci95"] for row in rows], dtype=np.float64)
            colour = PALETTE[position % len(PALETTE)]
            axes.vlines(prices, ends[:, 0], ends[:, 1], color=colour, linewidth=2.4)
            axes.plot(prices, [100 * row["mean"] for row in rows], "o", color=colour, label=label(name))
        axes.set_xscale("log")
        prices = document["protocol"]["prices"]
        axes.set_xticks(prices, labels=[f"{price:g}" for price in prices])
        axes.tick_params(which="minor", length=0, labelbottom=False)
        axes.set_xlabel("price of asking all members, where a correct answer is worth 1")
        axes.set_ylabel("points earned more")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        drawing.legend(loc="outside lower center", ncols=max(1, min(4, len(shown))), fontsize=9)
        return to_svg(
            drawing,
            "consultation-difference",
            f"Points earned more than {document['reference']} at each price, by {', '.join(shown)}; the "
            "table holds the figures",
        )


def _column(row: Document, key: str) -> Any:
    return 100 * np.array([at[key]["mean"] for at in row["by_price"]], dtype=np.float64)


def _main_table(document: Document) -> Table:
    reference = document["reference"]
    rows = []
    for name, row in document["agents"].items():
        near = row["near_full"]
        rows.append(
            [
                text_cell(name, "learned" if row["learns_policy"] else "control"),
                estimate_cell(row["earned"], ".2f", 100.0),
                ("–", 0.0) if name == reference else estimate_cell(row["vs_reference"], "+.2f", 100.0),
                MISSING if near is None else number_cell(near["cost"], ".0f", 100.0),
                MISSING if near is None else estimate_cell(near["accuracy_difference"], "+.2f", 100.0),
            ]
        )
    versus = "minus cascade by part, points"
    headings = ["agent", "earned, mean over prices, %", versus]
    headings += ["least cost within 0.2 points of full, %", "accuracy there minus full, points"]
    return html_table("What agents of consultation earn", headings, rows, key=versus)


def _price_table(document: Document) -> Table:
    headings = ["agent and price", "accuracy, %", "cost, %", "earned, %", "minus cascade by part, points"]
    rows = [
        [
            text_cell(f"{name}, {at['price']:g}"),
            estimate_cell(at["accuracy"], ".1f", 100.0),
            estimate_cell(at["cost"], ".1f", 100.0),
            estimate_cell(at["earned"], ".2f", 100.0),
            MISSING if at["vs_reference"] is None else estimate_cell(at["vs_reference"], "+.2f", 100.0),
        ]
        for name, row in document["agents"].items()
        for at in row["by_price"]
    ]
    return html_table("Agents of consultation at each price", headings, rows)


def _shown_price(document: Document) -> int:
    spent = _column(document["agents"][document["reference"]], "cost") / 100
    return int(np.abs(spent - SHOWN_COST).argmin())


def _asked_table(document: Document, price: int) -> Table:
    protocol = document["protocol"]
    costs = zip(protocol["model_names"], protocol["costs"], strict=True)
    headings = ["agent and body part", *(f"{name} (cost {100 * cost:.0f} %)" for name, cost in costs)]
    rows = []
    for name in _shown_agents(document):
        at = document["agents"][name]["by_price"][price]
        of_parts = at["asked_by_body_part"] if len(protocol["body_part_names"]) > 1 else {}
        for part, shares in {"all": at["asked"], **of_parts}.items():
            cells = [MISSING] * len(protocol["costs"]) if shares is None else [*map(_share_cell, shares)]
            rows.append([text_cell(f"{name}, {part}"), *cells])
    return html_table("Share of the studies about which each member is asked, %", headings, rows)


def _share_cell(share: float) -> tuple[str, float | str | None]:
    return number_cell(share, ".0f", 100.0)


def _shown_agents(document: Document) -> Sequence[str]:
    learned = [name for name, row in document["agents"].items() if row["learns_policy"]]
    return [document["reference"], *learned]


def _worked(document: Document) -> dict[str, Any] | None:
    """Return the worked study in words: a heading and a sentence a step."""
    worked, names = document["worked"], document["protocol"]["class_names"]
    if worked is None:
        return None

    def words(probabilities: Sequence[float]) -> str:
        if len(names) == 2:
            return f"{names[1]} {100 * probabilities[1]:.0f} %"
        best = int(np.argmax(probabilities))
        return f"{names[best]} {100 * probabilities[best]:.0f} %"

    lines = []
    for step in worked["steps"]:
        answer = (
            f"answer by then: {words(step['answer'])}, {100 * step['spent']:.0f} % of the full cost spent"
        )
        if step["member"] is None:
            lines.append(f"Before any question the {answer}.")
        else:
            lines.append(f"{step['member']} is asked and says {words(step['said'])}; {answer}.")
    final = names[int(np.argmax(worked["steps"][-1]["answer"]))]
    return {
        "heading": f"{worked['study_id']} ({worked['body_part']}), by {worked['agent']} at a price of "
        f"{worked['price']:g}",
        "lines": lines,
        "end": f"It answers {final}, which is correct.",
    }


def _facts(document: Document) -> str:
    protocol = document["protocol"]
    return (
        f"{document['n_studies']:,} test studies of {protocol['n_test_patients']:,} patients · "
        f"{positive_words(protocol['class_names'])} · {len(protocol['model_names'])} members · "
        f"{len(document['seeds'])} seeds · {len(protocol['prices'])} prices"
    )


def _protocol(document: Document) -> list[str]:
    protocol = document["protocol"]
    costs = [
        f"{name} {number(cost, '.1f', 100.0)} %"
        for name, cost in zip(protocol["model_names"], protocol["costs"], strict=True)
    ]
    return [
        f"Agents learn from {protocol['n_train_studies']:,} out-of-fold studies of "
        f"{protocol['n_train_patients']:,} patients. The test table is scored once.",
        f"Costs: {', '.join(costs)} of what all members cost, times the study's number of views.",
        f"Intervals: 95 %, bootstrapped by patient with {protocol['bootstrap_resamples']:,} resamples.",
        *protocol["notes"],
        f"Seeds: {', '.join(map(str, document['seeds']))}.",
    ]
