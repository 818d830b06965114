"""An algorithm of one's own in one file: the cross-entropy method finds one weight vector for all studies."""

from dataclasses import dataclass

import gymnasium
import numpy as np

from agents import Agent, register_agent
from mura_env import ENVIRONMENT_ID


@dataclass(frozen=True)
class CrossEntropyConfig:
    """Options of the cross-entropy method; each is also an option on the command line."""

    n_rounds: int = 30
    """Rounds of drawing and keeping."""
    n_candidates: int = 32
    """Weight vectors drawn in a round, of which the best quarter is kept."""
    n_studies: int = 256
    """Studies that each of them is tried on."""


@register_agent("cross_entropy")
class CrossEntropy(Agent[CrossEntropyConfig]):
    """Draw weight vectors, keep the best, draw nearer to those (Rubinstein 1999)."""

    config_class = CrossEntropyConfig
    learns_by_reinforcement = True

    def _fit(self, train, validation, seed, progress, callback):
        config, generator = self.config, np.random.default_rng(seed)
        env = gymnasium.make_vec(
            ENVIRONMENT_ID,
            num_envs=config.n_candidates,
            predictions=train,
            draws_per_study=config.n_candidates,
        )
        env.reset(seed=seed)  # every step shows one study, to all candidates
        mean, deviation = np.zeros(train.n_models), np.full(train.n_models, 0.5)
        for _ in range(config.n_rounds):
            actions = generator.normal(mean, deviation, (config.n_candidates, train.n_models)).clip(-1, 1)
            actions = actions.astype(np.float32)
            returns = sum(env.step(actions)[1] for _ in range(config.n_studies))
            best = actions[np.argsort(-returns, kind="stable")[: config.n_candidates // 4]]
            mean, deviation = best.mean(axis=0), best.std(axis=0) + 0.05
        self.total_steps_ = config.n_rounds * config.n_studies * config.n_candidates
        scale = env.unwrapped.task.action_scale
        env.close()
        self.arrays_ = {"weights": np.exp(scale * mean) / np.exp(scale * mean).sum()}

    def _weights(self, table, body_parts):
        return np.tile(self.arrays_["weights"], (len(table), 1))

    def _check_arrays(self):
        self._require_shape("weights", (len(self.model_names_),))
