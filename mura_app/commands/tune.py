"""`mura tune AGENT`: search better options of a weighting agent on inner folds of a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from agents.benchmark.tuning import JOURNAL, parse_space, tune_agent
from mura_app.commands.agent_options import parse_agent_options
from mura_app.commands.options import OPTIONAL, AsJson, FolderOptions, Positive
from mura_app.predictions_io import load_table
from mura_app.terminal import ProgressBars, print_result
from mura_env.errors import UserFileExistsError
from mura_env.utils.files import write_json
from mura_env.utils.options import Range, Seed

DOCUMENT = "tuning.json"


@dataclass(frozen=True)
class Command(FolderOptions):
    """Options of `mura tune`."""

    agent: tyro.conf.Positional[str]
    """Name of the agent; `mura fit-agent NAME --help` explains its options."""

    predictions: Path
    """Predictions table to search on (`.npz` or `.csv`), such as `RUN/predictions/train.npz`; never one that
    is scored later."""

    out: Path
    """Folder for the trials and the result, `tuning.json`."""

    trials: Annotated[int, Range("[1, 100000]")] = 30
    """Number of trials, those that were ended early and those of an earlier start among them."""

    search: Annotated[tuple[str, ...], OPTIONAL] = ()
    """What to search: `OPTION=LOW..HIGH` or `OPTION=ONE,OTHER`, such as `learning_rate=0.001..0.1
    hidden_size=16,32`; by default what is known to matter of the agent's options."""

    option: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """An option of all trials, such as `total_steps=20000`; may be repeated."""

    folds: Annotated[int, Range("[2, 100]")] = 3
    """Inner folds by patient; a trial fits the agent once for each."""

    positive: Positive = None

    seed: Seed = 0
    """Seed of folds, fits and proposals."""

    resume: bool = False
    """Continue the search in `--out`."""

    json: AsJson = False

    def run(self) -> None:
        """Search, and say what is best."""
        if (self.out / JOURNAL).exists() and not self.resume:
            raise UserFileExistsError(
                f"{self.out} already holds a search; add --resume to continue it, or choose another --out"
            )
        table = load_table(self.predictions, self.positive)
        given = parse_agent_options(f"{self.agent}.{word}" for word in self.option)
        with ProgressBars() as progress:
            document = tune_agent(
                self.agent,
                table,
                n_trials=self.trials,
                space=parse_space(self.search) or None,
                options=given.get(self.agent, {}),
                n_folds=self.folds,
                seed=self.seed,
                directory=self.out,
                progress=progress,
            )
        write_json(self.out / DOCUMENT, document)
        best, before = document["best"], document["as_it_is"]
        words = ",".join(f"{self.agent}.{name}={value}" for name, value in best["options"].items())
        text = (
            f"best of {document['trials']} trials, {document['ended_early']} of them ended early: "
            f"{best['score']:.4f}, {document['score']}"
            + (f" (as it is: {before['score']:.4f})" if before else "")
            + "; chosen among many, it is too good: compare on a test table with\n"
            f"mura benchmark … --agent tuned={self.agent},{words.replace(f'{self.agent}.', 'tuned.')}"
        )
        print_result(document, text, as_json=self.json)
