"""The environment of a stack of policies: one batched environment per fold, rewards less the KL penalty."""

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from agents.mixture import reference_logits
from agents.policy.selection import InnerFold
from mura_env import ENVIRONMENT_ID
from mura_env.combination import kl_divergence
from mura_env.observations import ObservationLayout


class PolicyStackEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """One `EnsembleWeighting` environment per fold, with a KL penalty towards the reference in the reward.

    The policies of a fold, one per KL coefficient, share the fold's environment, which shows its contested
    studies. Policy `fold * n_coefficients + coefficient` has the `width` rows that begin at `width` times its
    number. An episode is one study; the reward is that of the study minus β·KL(w ‖ reference), with β the
    policy's KL coefficient.

    Args:
        folds: What each fold's policies learn from.
        kl_coefficients: KL coefficients β, one policy each in every fold.
        width: Rows per policy.
        reward: Name of the reward.
        draws_per_study: How many neighbouring rows show the same study; divides `width`.
        action: `softmax`, or `select`: a number below `n_models` gives that member all the weight, `n_models`
            stands for the reference.

    Attributes:
        last_rewards: Mean reward of each policy in the last step, without the penalty, `(n_policies,)`.
    """

    def __init__(
        self,
        folds: Sequence[InnerFold],
        kl_coefficients: Sequence[float],
        width: int,
        reward: str,
        *,
        draws_per_study: int = 1,
        action: Literal["softmax", "select"] = "softmax",
    ) -> None:
        self.action = action
        self.n_policies, self.width = len(folds) * len(kl_coefficients), width
        self.n_models = folds[0].learn.n_models
        self.folds = tuple(folds)
        self.num_envs = self.n_policies * width
        rows = len(kl_coefficients) * width
        logits = [reference_logits(fold.reference[:-1]).T for fold in folds]  # (n_body_parts, n_models) each
        # With `select`, the rows of the references follow those of the members, one for each body part.
        candidates: list[dict[str, Any]] = [
            {} if action == "softmax" else {"candidates": np.vstack((np.eye(self.n_models), np.exp(own)))}
            for own in logits
        ]
        self._envs = [
            gymnasium.make_vec(
                ENVIRONMENT_ID,
                num_envs=rows,
                predictions=fold.learn,
                reference=fold.reference[:-1],
                reward=reward,
                sampling="contested",
                draws_per_study=draws_per_study,
                infos=False,
                action=action,
                **options,
            )
            for fold, options in zip(folds, candidates, strict=True)
        ]
        tasks: list[Any] = [env.unwrapped.task for env in self._envs]  # type: ignore[attr-defined]  # ours
        self.row_kl_coefficients = np.repeat(np.asarray(kl_coefficients, dtype=np.float32), width)
        scales = np.array([task.action_scale for task in tasks], dtype=np.float32)
        self.policy_scales = np.repeat(scales, len(kl_coefficients))
        """Action scale of every policy's environment, logits per unit of action, shape `(n_policies,)`."""
        self.row_scales = np.repeat(scales, rows)[:, None]
        """The same for every row, shape `(num_envs, 1)`."""
        self.policy_log_references = np.repeat(np.stack(logits), len(kl_coefficients), axis=0)
        """Logarithms of every policy's reference weights, `(n_policies, n_body_parts, n_models)`."""
        self.body_part_columns = ObservationLayout.of(folds[0].learn).columns("body_part")
        self.single_observation_space = self._envs[0].single_observation_space
        self.single_action_space = (
            self._envs[0].single_action_space if action == "softmax" else spaces.Discrete(self.n_models + 1)
        )
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.last_rewards = np.zeros(self.n_policies)
        self._reward_sum, self._n_steps = np.zeros(self.n_policies), 0

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start all episodes anew; the folds' environments count on from the seed."""
        first = seed[0] if isinstance(seed, list) else seed
        pieces = [
            env.reset(seed=None if first is None else first + index, options=options)[0]
            for index, env in enumerate(self._envs)
        ]
        self._observations = np.concatenate(pieces)
        return self._observations, {}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[
        NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Weight one study per row; every episode ends.

        Actions are `(num_envs, n_models)`, in [-1, 1]; with `select`, `(num_envs,)`, from 0 to `n_models`.
        """
        if self.action == "select":
            parts = self._observations[:, self.body_part_columns].argmax(axis=1)
            actions = np.where(actions == self.n_models, self.n_models + parts, actions)
        observations, rewards, penalties = [], [], []
        for env, own in zip(self._envs, np.split(actions, len(self._envs)), strict=True):
            shown, of_studies, _, _, _ = env.step(own)
            inner: Any = env.unwrapped
            logits = inner.task.log_reference_weights(inner.decisions.studies)
            penalties.append(self.row_kl_coefficients * kl_divergence(inner.decisions.weights, logits))
            observations.append(shown)
            rewards.append(of_studies)
        unpenalised = np.concatenate(rewards)
        self.note_rewards(unpenalised.reshape(self.n_policies, -1).mean(axis=1))
        self._observations = np.concatenate(observations)
        flags = np.ones(self.num_envs, bool), np.zeros(self.num_envs, bool)
        return self._observations, unpenalised - np.concatenate(penalties), *flags, {}

    def note_rewards(self, rewards: NDArray[Any]) -> None:
        """Take notice of each policy's mean reward in a step, without the penalty; shape `(n_policies,)`."""
        self.last_rewards = rewards
        self._reward_sum += rewards
        self._n_steps += 1

    def mean_rewards(self) -> NDArray[np.float64]:
        """Return each policy's mean reward, without the penalty, since it was last asked for."""
        means: NDArray[np.float64] = self._reward_sum / max(1, self._n_steps)
        self._reward_sum, self._n_steps = np.zeros(self.n_policies), 0
        return means

    def close_extras(self, **kwargs: Any) -> None:
        """Close the folds' environments."""
        for env in self._envs:
            env.close(**kwargs)
