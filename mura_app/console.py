"""The benchmark on the terminal: a table, and where everything lies."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from agents.registry import BASELINE
from mura_app.report.numbers import NBSP, format_p, number, points
from mura_app.report.sections import verdict
from mura_app.report.verdict import features_sentence
from mura_app.run_directory import RunDirectory
from mura_app.terminal import message, print_json, standard_output
from mura_env.class_order import positive_words


def show_benchmark(document: Mapping[str, Any], run: RunDirectory, *, as_json: bool) -> None:
    """Print the result of a benchmark on standard output, as a table and sentences or as JSON."""
    if as_json:
        print_json(document)
        return
    with standard_output() as console:
        console.print(benchmark_table(document))
        said = verdict(document)
        fallback = [said["fallback"]] if said["fallback"] else []
        sentences = said["ensemble"], said["overall"], *said["verdict"], *said["repeats"], *fallback
        for sentence in sentences:
            console.print(sentence, soft_wrap=True)
        if document["protocol"].get("feature_names"):
            console.print(features_sentence(document), soft_wrap=True)
        console.print(f"report: {run.report_path}", soft_wrap=True)


def show_odd_files(training: Mapping[str, Any], run: RunDirectory) -> None:
    """Say on standard error which of the data's files were left out, or are not what they seem."""
    if skipped := training["skipped_images"]:
        lost = training.get("skipped_studies")
        studies = f", and with them {len(lost):,} whole study(ies)" if lost else ""
        message(f"left out {len(skipped):,} unreadable image(s){studies}; {run.training_path} names them")
    if shared := training.get("shared_images"):
        message(
            f"{len(shared):,} image(s) stand in studies of several patients (data leakage), so that members "
            f"may know what they are asked, and every figure is too good; {run.training_path} names them, "
            "and `mura check-data` shows copies of all kinds"
        )
    if misnamed := training.get("misnamed_images"):
        message(
            f"{len(misnamed):,} image(s) with names that belie their content, which was read; "
            f"{run.training_path} names them"
        )
    if odd := training.get("odd_images"):
        message(
            f"{len(odd):,} image(s) that contradict themselves or look unlike the others, such as blank or "
            f"inverted ones, are among the data; {run.training_path} names them"
        )
    if unlisted := training.get("unlisted_files"):
        message(
            f"{len(unlisted):,} file(s) that belong to no study were not read; {run.training_path} names them"
        )


def benchmark_table(document: Mapping[str, Any]) -> Table:
    """Return one row an agent or control; estimates are means over seeds, intervals 95 % by patient."""
    table = Table(
        title=f"{document['n_studies']:,} test studies, {len(document['seeds'])} seeds, "
        f"{positive_words(document['protocol']['class_names'])}",
        title_justify="left",
        box=SIMPLE_HEAD,  # with it, the table fits a terminal of 80 columns
        padding=(0, 0),
    )
    table.add_column("agent")
    auroc = "AUROC" if len(document["protocol"]["class_names"]) == 2 else "macro AUROC"
    for heading in ("accuracy %", "kappa", auroc, "minus uniform (95 %)", "p"):
        table.add_column(heading, justify="right")
    for name, row in [*document["agents"].items(), *document["controls"].items()]:
        comparison = row["vs_uniform"]
        low, high = comparison["ci95"]
        difference = f"{points(comparison['accuracy_difference'])} ({points(low)}, {points(high)})"
        compared = (difference, format_p(comparison["permutation_p"]).removeprefix(f"={NBSP}"))
        table.add_row(
            name + (" (bound)" if row.get("is_bound") else ""),
            number(row["accuracy"]["mean"], ".1f", 100.0),
            number(row["kappa"]["mean"]),
            number(row["auroc"]["mean"]),
            *(("–", "–") if name == BASELINE else compared),
        )
    return table
