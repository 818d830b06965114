"""The environment of a whole stack of policies: one batched environment per fold, side by side."""

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from agents.policy.inner_folds import InnerFold
from mura_env import ENVIRONMENT_ID
from mura_env.combination import action_scale, log_reference, softmax_weights
from mura_env.kl_penalty import kl_divergence
from mura_env.observations import ObservationLayout


class PolicyStackEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """One `EnsembleWeighting` environment per fold, with a pull towards the reference in the reward.

    The policies of a fold, one per pull strength, share the fold's environment. Policy `fold * n_strengths +
    strength` has the `width` rows that begin at `width` times its number. An episode is one study; the reward
    is that of the study minus β·KL(w ‖ reference), with β the policy's pull strength.

    Args:
        folds: What each fold's policies learn from.
        kl_strengths: Pull strengths β, one policy each in every fold.
        width: Rows per policy.
        reward: Name of the reward.
        draws_per_study: How many neighbouring rows show the same study; divides `width`.
        action: `softmax`, or `select`: a number below `n_models` gives that member all the weight, `n_models`
            stands for the reference.
    """

    def __init__(
        self,
        folds: Sequence[InnerFold],
        kl_strengths: Sequence[float],
        width: int,
        reward: str,
        *,
        draws_per_study: int = 1,
        action: Literal["softmax", "select"] = "softmax",
    ) -> None:
        self.action = action
        self.n_policies, self.width = len(folds) * len(kl_strengths), width
        self.n_models = folds[0].learn.n_models
        self.folds = tuple(folds)
        self.num_envs = self.n_policies * width
        rows = len(kl_strengths) * width
        # (n_models, n_body_parts) each, normalised again after the environment's floor
        floored = [np.exp(log_reference(fold.reference[:-1].T)) for fold in folds]
        references = [weights / weights.sum(axis=0) for weights in floored]
        # With `select`, the rows of the references follow those of the members, one for each body part.
        candidates: list[dict[str, Any]] = [
            {} if action == "softmax" else {"candidates": np.vstack((np.eye(self.n_models), weights.T))}
            for weights in references
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
        self._rows = [slice(index * rows, (index + 1) * rows) for index in range(len(folds))]
        self.pulls = np.repeat(np.asarray(kl_strengths, dtype=np.float32), width)
        self.log_references = [np.log(weights) for weights in references]
        self.action_scales = np.array([action_scale(logs) for logs in self.log_references], dtype=np.float32)
        self.body_part_columns = ObservationLayout.of(folds[0].learn).columns("body_part")
        self.single_observation_space = self._envs[0].single_observation_space
        self.single_action_space = (
            self._envs[0].single_action_space if action == "softmax" else spaces.Discrete(self.n_models + 1)
        )
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.last_rewards = np.zeros(self.n_policies)
        self._reward_sums, self._reward_counts = np.zeros(self.n_policies), np.zeros(self.n_policies)

    @property
    def policy_log_references(self) -> NDArray[np.float32]:
        """Logarithms of every policy's reference weights, `(n_policies, n_body_parts, n_models)`."""
        by_fold = np.stack([logs.T for logs in self.log_references]).astype(np.float32)
        return np.repeat(by_fold, self.n_policies // len(by_fold), axis=0)

    @property
    def policy_scales(self) -> NDArray[np.float32]:
        """Action scale of every policy's environment, shape `(n_policies,)`."""
        return np.repeat(self.action_scales, self.n_policies // len(self.action_scales))

    @property
    def row_scales(self) -> NDArray[np.float32]:
        """Action scale of every row's environment: logits per unit of action, shape `(num_envs, 1)`."""
        return np.repeat(self.action_scales, self.num_envs // len(self.action_scales))[:, None]

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start all episodes anew.

        Args:
            seed: That of the first fold's environment, from which the others count on; or one for each fold.
            options: Passed on.
        """
        n_folds = len(self._envs)
        if seed is None or isinstance(seed, int):
            seeds = [None if seed is None else seed + index for index in range(n_folds)]
        else:
            seeds = seed
        pieces = [env.reset(seed=own, options=options)[0] for env, own in zip(self._envs, seeds, strict=True)]
        self._observations = np.concatenate(pieces)
        return self._observations, {}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[
        NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Weight one study per row; every episode ends.

        Args:
            actions: Shape `(num_envs, n_models)`, in [-1, 1]; with `select`, shape `(num_envs,)`, whole
                numbers from 0 to `n_models`.
        """
        if self.action == "select":
            parts = self._observations[:, self.body_part_columns].argmax(axis=1)
            actions = np.where(actions == self.n_models, self.n_models + parts, actions)
        decided, pieces = self._observations, []
        rewards = np.empty(self.num_envs, dtype=np.float32)
        for env, rows in zip(self._envs, self._rows, strict=True):
            observations, rewards[rows], _, _, _ = env.step(actions[rows])
            pieces.append(observations)
        self.note_rewards(rewards.reshape(self.n_policies, -1).mean(axis=1))
        for index, rows in enumerate(self._rows):
            rewards[rows] -= self.pulls * self._divergence(index, decided[rows], actions[rows])
        self._observations = np.concatenate(pieces)
        return self._observations, rewards, np.ones(self.num_envs, bool), np.zeros(self.num_envs, bool), {}

    def note_rewards(self, rewards: NDArray[Any]) -> None:
        """Take notice of each policy's mean reward in a step, without the pull; shape `(n_policies,)`."""
        self.last_rewards = rewards
        self._reward_sums += rewards
        self._reward_counts += 1

    def mean_rewards(self, policies: slice = slice(None)) -> NDArray[np.float64]:
        """Return the mean rewards of some policies, without the pull, since they were last asked for."""
        means: NDArray[np.float64] = self._reward_sums[policies] / np.maximum(
            1, self._reward_counts[policies]
        )
        self._reward_sums[policies] = self._reward_counts[policies] = 0
        return means

    def close_extras(self, **kwargs: Any) -> None:
        """Close the folds' environments."""
        for env in self._envs:
            env.close(**kwargs)

    def _divergence(
        self, fold: int, observations: NDArray[np.float32], actions: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return KL(w ‖ reference) of the weights that the actions stand for, shape `(n_rows,)`."""
        parts = observations[:, self.body_part_columns].argmax(axis=1)
        logs = self.log_references[fold][:, parts]
        if self.action == "select":
            alone = -np.take_along_axis(logs, np.minimum(actions, self.n_models - 1)[None], axis=0)[0]
            return np.where(actions < self.n_models, alone, np.float32(0.0))
        return kl_divergence(softmax_weights(actions, self.action_scales[fold], logs), logs)
