"""The benchmark of consultation as a part of a run: its files, its page, and what the terminal shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from agents.benchmark.consultation import run_consultation
from agents.benchmark.consultation_document import ConsultationBenchmark
from agents.consultation.agent import ConsultationConfig
from mura_app.report.consultation import near_full_sentence, render_consultation, verdict_sentences
from mura_app.report.numbers import number
from mura_app.run_directory import RunDirectory
from mura_app.schema import read_document
from mura_app.terminal import print_json, standard_output
from mura_env import Predictions
from mura_env.utils.files import write_json, write_text

DOCUMENT = "consultation.json"
DEFAULT_AGENTS = (
    *("full_ensemble", "best_subset", "best_subset_per_body_part", "cascade", "cascade_per_body_part"),
    *("voi", "consult_pg"),
)


def consultation_settings(
    agents: Mapping[str, Mapping[str, Any]], agent_seeds: int, prices: Sequence[float]
) -> dict[str, Any]:
    """Return the settings that `config.json` keeps."""
    return {
        "task": "consult",
        "agents": list(agents),
        "agent_options": {name: dict(options) for name, options in agents.items() if options},
        "agent_seeds": agent_seeds,
        "prices": [float(price) for price in prices or ConsultationConfig.prices],
    }


def benchmark_consultation(
    run: RunDirectory,
    train: Predictions,
    test: Predictions,
    settings: Mapping[str, Any],
    *,
    title: str,
    **options: Any,
) -> dict[str, Any]:
    """Fit, score, and write `consultation.json` and the page that shows it; return the document.

    Args:
        run: Where agents, figures and page are written.
        train: Table that the agents learn from, with out-of-fold logits.
        test: Table that is only scored.
        settings: See `consultation_settings`.
        title: What the page is about.
        **options: Further ones of `agents.benchmark.consultation.run_consultation`.
    """
    figures = run_consultation(
        train,
        test,
        {name: settings["agent_options"].get(name, {}) for name in settings["agents"]},
        range(settings["agent_seeds"]),
        run.path,
        prices=settings["prices"],
        **options,
    )
    document = {"title": title, **figures}
    ConsultationBenchmark.model_validate(document)
    write_json(run.path / DOCUMENT, document)
    write_consultation_page(run, document)
    return document


def write_consultation_page(run: RunDirectory, document: Mapping[str, Any]) -> None:
    """Write `report.html` of a benchmark of consultation."""
    title = document.get("title") or run.path.resolve().parent.name
    write_text(run.report_path, render_consultation(document, title=title, settings=run.read_config()))


def read_consultation(run: RunDirectory) -> dict[str, Any]:
    """Read the document of a finished benchmark of consultation; a damaged or edited one is refused."""
    return read_document(
        run.path / DOCUMENT,
        ConsultationBenchmark,
        "a finished benchmark of consultation",
        "run `mura benchmark --task consult` again",
    )


def show_consultation(document: Mapping[str, Any], run: RunDirectory, *, as_json: bool) -> None:
    """Print the result on standard output, as a table and sentences or as JSON."""
    if as_json:
        print_json(document)
        return
    table = Table(
        title=f"{document['n_studies']:,} test studies, {len(document['seeds'])} seeds, "
        f"{len(document['protocol']['prices'])} prices",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 0),
    )
    table.add_column("agent")
    for heading in ("earned %", "minus cascade by part (95 %)", "cost near full %"):
        table.add_column(heading, justify="right")
    for name, row in document["agents"].items():
        versus, near = row["vs_reference"], row["near_full"]
        ends = [] if versus is None else [number(end, "+.2f", 100.0) for end in versus["ci95"]]
        table.add_row(
            name,
            number(row["earned"]["mean"], ".2f", 100.0),
            "–" if versus is None else f"{number(versus['mean'], '+.2f', 100.0)} ({', '.join(ends)})",
            "–" if near is None else number(near["cost"], ".0f", 100.0),
        )
    with standard_output() as console:
        console.print(table)
        for sentence in (*verdict_sentences(document), near_full_sentence(document)):
            console.print(sentence, soft_wrap=True)
        console.print(f"report: {run.report_path}", soft_wrap=True)
