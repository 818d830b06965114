"""The options of every command that benchmarks agents: which ones, with what options and how many seeds."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.registry import BASELINE, class_of
from mura_app.commands.config_file import RunOptions, saved_settings
from mura_app.commands.options import OPTIONAL
from mura_env.errors import UserError
from mura_env.utils.options import Range

DEFAULT_AGENTS = (
    "uniform",
    "best_single",
    "static",
    "static_per_body_part",
    "stacking",
    "gate",
    "reinforce",
    "ppo",
)

AgentSeeds = Annotated[int, Range("[1, 1000]")]


_FEATURE_WORDS = ("auto", "all", "none")


@dataclass(frozen=True, kw_only=True)
class AgentOptions(RunOptions):
    """The agents of a benchmark."""

    agents: tuple[str, ...] = DEFAULT_AGENTS
    """Names of the weighting agents to compare with uniform averaging."""

    agent: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Options of an agent, such as `ppo.total_steps=200000`, several with commas between them; may be
    repeated. `wide=ppo,wide.hidden_size=64` compares a variant of an agent under a name of its own.
    `mura fit-agent NAME --help` explains the options of each agent."""

    features: Annotated[tuple[str, ...], OPTIONAL] = ()
    """Features of the tables that agents read: `all`, `none`, their names, or `auto`, the default: each agent
    finds out on inner folds of the training table whether they help."""

    agent_seeds: AgentSeeds = 10
    """Number of seeds, 0 to n - 1, that each agent is trained with; a claim needs at least 10."""

    cross_validation_seeds: Annotated[int, Range("[0, 1000]")] = 1
    """Number of these seeds that agents are cross-validated with on the training table, for thresholds and
    the secondary comparison; three more fits a seed, none with 0."""

    targets: Annotated[tuple[str, ...], OPTIONAL] = ()
    """Rewards that agents are trained for, and scored by, beside accuracy, with controls whose weights and
    threshold are chosen for the same reward: `balanced` (kappa), `musculoskeletal_costs` or `cost_sensitive`
    (a miss costs more), `hard_cases`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if twice := [name for name, count in Counter(self.agents).items() if count > 1]:
            raise UserError(f"expected each agent once in --agents, got {twice[0]!r} twice; leave one out")

    def chosen_agents(
        self, always: tuple[str, ...] = (BASELINE,), out: Path | None = None
    ) -> dict[str, dict[str, Any]]:
        """Return each agent's options: those of a saved run, on top `--features`, and on top `--agent`.

        Args:
            always: Agents that are there without being named.
            out: The run that may be saved already; `--out` if None.
        """
        saved = saved_settings(self.config, out or self.out, resume=self.resume).get("agent_options") or {}
        given = parse_agent_options(self.agent)
        variants = [name for name, options in given.items() if "agent" in options]
        names = dict.fromkeys((*always, *self.agents, *variants))
        if strange := given.keys() - names:
            raise UserError(
                f"expected --agent options of agents that are compared ({', '.join(names)}), got some of "
                f"{min(strange)!r}; add it to --agents, or say of which agent it is a variant: "
                f"{min(strange)}=ppo"
            )
        features = self._features()
        chosen = {}
        for name in names:
            options = {**saved.get(name, {}), **given.get(name, {})}
            reads = hasattr(class_of(name, options).config_class, "features")
            chosen[name] = {**saved.get(name, {}), **(features if reads else {}), **given.get(name, {})}
        return chosen

    def _features(self) -> dict[str, Any]:
        """Return the option that `--features` stands for; none where it is not given."""
        if len(self.features) == 1 and self.features[0] in _FEATURE_WORDS:
            return {"features": self.features[0]}
        return {"features": list(self.features)} if self.features else {}


def parse_agent_options(words: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return, by agent, its options by name from words such as `ppo.total_steps=2000,ppo.network=mlp`.

    A value is read as JSON (`2000`, `0.5`, `true`, `[64, 64]`); what is no JSON is a text. `wide=ppo` makes
    `wide` a variant of an agent: that is its option `agent`.
    """
    options: dict[str, dict[str, Any]] = {}
    for word in (part for line in words for part in re.split(r",(?=[\w-]+\.\w+=)", line)):
        match = re.fullmatch(r"([\w-]+)(?:\.(\w+))?=(.*)", word, re.DOTALL)
        if match is None:
            raise UserError(
                f"expected --agent NAME.OPTION=VALUE, such as ppo.total_steps=200000, got {word!r}; NEW=NAME "
                "makes a variant of an agent"
            )
        name, option, text = match.groups()
        if option is None:
            options.setdefault(name, {})["agent"] = text
            continue
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        options.setdefault(name, {})[option] = value
    return options
