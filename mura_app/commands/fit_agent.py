"""`mura fit-agent NAME`: learn a weighting policy from a predictions table."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from agents import agent_class, list_agents, list_consultation_agents, make_agent
from agents.storage import ARRAYS_NAME, DOCUMENT_NAME
from mura_app.commands.options import AsJson, CheckedOptions, Positive
from mura_app.locks import lock_in
from mura_app.main import COMMANDS, parse
from mura_app.predictions_io import load_table
from mura_app.terminal import ProgressBars, message, print_json, print_text
from mura_env.class_order import positive_class, positive_words
from mura_env.errors import UserFileExistsError
from mura_env.utils.files import unfinished
from mura_env.utils.options import Seed


@dataclasses.dataclass(frozen=True)
class Options(CheckedOptions):
    """Options that every agent has."""

    predictions: Path
    """Predictions table to learn from (`.npz` or `.csv`), such as `RUN/predictions/train.npz`."""

    out: Path
    """Folder to save the fitted agent in."""

    positive: Positive = None

    seed: Seed = 0
    """Seed of the agent; the same seed on the same machine gives the same weights."""

    overwrite: bool = False
    """Replace an agent that is already saved in `--out`."""

    json: AsJson = False


@dataclasses.dataclass(frozen=True)
class Command:
    """A parsed `mura fit-agent NAME`."""

    name: str
    options: Options
    config: dict[str, Any]

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        return (lock_in(self.options.out),)

    def run(self) -> None:
        """Fit the agent, save it, and say what weights it gives each body part."""
        options = self.options
        if options.out.exists():
            _check_replaceable(options.out, overwrite=options.overwrite)
        table = load_table(options.predictions, options.positive)
        agent = make_agent(self.name, **self.config)
        with ProgressBars() as progress:
            agent.fit(table, seed=options.seed, progress=progress)
        agent.save(options.out)
        weights = agent.weights(table)
        by_part = {}
        for index, part in enumerate(table.body_part_names):
            if (chosen := table.body_parts == index).any():
                means = weights[chosen].mean(axis=0).tolist()
                by_part[part] = dict(zip(table.model_names, means, strict=True))
        if options.json:
            classes = {
                "classes": list(table.class_names),
                "positive_class": positive_class(table.class_names),
            }
            read = {**classes, "features": list(agent.feature_names_)}
            print_json({"agent": self.name, "out": str(options.out), **read, "mean_weights": by_part})
            return
        if table.feature_names:
            message(f"features read: {', '.join(agent.feature_names_) or 'none'}")
        message(
            f"{self.name} is fitted on {len(table):,} studies and saved in {options.out}; "
            f"{positive_words(table.class_names)}; mean weights:"
        )
        for part, row in by_part.items():
            message(f"  {part:<12} " + "  ".join(f"{model} {weight:z.2f}" for model, weight in row.items()))


def _check_replaceable(out: Path, *, overwrite: bool) -> None:
    """Refuse to replace what is no saved agent, or to do it unasked."""
    if not out.is_dir():
        raise UserFileExistsError(f"{out} already exists and is no folder; choose another --out")
    files = [out / ARRAYS_NAME, out / DOCUMENT_NAME]
    left = {part for file in files for part in unfinished(file)}  # by one that was killed
    there = {*out.iterdir()} - left - {lock_in(out)}
    if there and not overwrite:
        raise UserFileExistsError(f"{out} already exists; choose another --out, or add --overwrite")
    if others := there - {*files}:
        raise UserFileExistsError(
            f"expected nothing but a saved agent to replace in {out}, got {min(others).name!r}; "
            "choose another --out"
        )
    for part in left:
        part.unlink()


def parse_command(arguments: list[str]) -> Command:
    """Parse the agent's name, the common options and every field of the agent's configuration."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print_text(_overview())
        sys.exit(0)
    name, *options = arguments
    fields: list[tuple[str, Any]] = [("options", Options), ("config", agent_class(name).config_class)]
    parsed = parse(dataclasses.make_dataclass("FitAgent", fields), f"fit-agent {name}", options, flat=True)
    return Command(name, parsed.options, dataclasses.asdict(parsed.config))


def _overview() -> str:
    names = "\n".join(f"  {name}" for name in list_agents())
    asking = "\n".join(f"  {name}" for name in list_consultation_agents())
    return (
        "usage: mura fit-agent NAME --predictions TABLE --out DIR [OPTIONS]\n\n"
        f"{COMMANDS['fit-agent']}\n\n{names}\n\n"
        f"Those that ask one member after the other:\n\n{asking}\n\n"
        "`mura fit-agent NAME --help` explains every option of that agent."
    )
