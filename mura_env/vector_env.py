"""The natively batched environment: many studies decided in one step."""

from __future__ import annotations

from os import PathLike
from typing import Any, Unpack

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from mura_env.combination import FloatArray
from mura_env.errors import UserError
from mura_env.observations import StudyBatch
from mura_env.predictions import Predictions
from mura_env.rendering import render_study
from mura_env.rewards import Decisions
from mura_env.scalar_env import EnsembleWeightingEnv
from mura_env.table_spec import SpecOfTable
from mura_env.utils.options import STUDIES
from mura_env.weighting_task import TaskOptions, WeightingTask, require_one_of


class EnsembleWeightingVectorEnv(VectorEnv[FloatArray, NDArray[Any], NDArray[Any]]):
    """`EnsembleWeightingEnv`, ``num_envs`` studies at a time, by the same rules to the bit.

    The envs take the next studies of one common order, so that with one-step episodes row i of step t is
    episode t·num_envs + i of the scalar env with the same seed. All episodes have the same length and end
    together, never truncated; the next ones begin in the same step (`AutoresetMode.SAME_STEP`), whose
    observations are then theirs.

    ``infos`` of a step, each with its mask ``_key``: ``weights`` float32 ``(num_envs, n_models)``,
    ``prediction`` and ``study`` int64 ``(num_envs,)``, of the studies just decided on; where episodes ended
    also ``final_obs`` float32 ``(num_envs, n_columns)``, a fresh copy of the observations just decided on,
    and ``final_info`` with the same weights, predictions and studies. ``infos=False`` leaves all of it out.

    Args:
        predictions: The table, or the path of one.
        num_envs: Studies per step; a multiple of ``draws_per_study``.
        infos: Whether ``infos`` is filled.
        render_mode: ``ansi`` or None.
        max_episode_steps: What `gymnasium.make_vec` passes on: at least ``episode_length``, since episodes
            are never truncated.
        **options: Those of `mura_env.weighting_task.WeightingTask`, which describes each.
    """

    metadata = {**EnsembleWeightingEnv.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    autoreset_mode = AutoresetMode.SAME_STEP
    """The same, where TorchRL and gymnasium's own batched environments look for it."""

    spec: EnvSpec | None = SpecOfTable()  # type: ignore[assignment]  # a descriptor

    def __init__(
        self,
        predictions: Predictions | str | PathLike[str],
        num_envs: int = 1,
        *,
        infos: bool = True,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **options: Unpack[TaskOptions],
    ) -> None:
        require_one_of("render_mode", render_mode, (None, "ansi"))
        self.task = WeightingTask(predictions, **options)
        if max_episode_steps is not None and max_episode_steps < self.task.episode_length:
            raise UserError(
                f"expected max_episode_steps of at least episode_length={self.task.episode_length}, got "
                f"{max_episode_steps}: episodes end by themselves; choose a shorter episode_length"
            )
        draws = self.task.draws_per_study
        STUDIES.check("num_envs", num_envs, int)
        if num_envs % draws:
            raise UserError(f"expected num_envs as a multiple of draws_per_study={draws}, got {num_envs}")
        self.num_envs = int(num_envs)
        self.single_observation_space = self.task.single_observation_space
        self.single_action_space = self.task.single_action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = render_mode
        self._infos = infos
        self._shown: StudyBatch | None = None
        self._observations: FloatArray = np.empty(0, dtype=np.float32)  # of the studies shown
        self._step_in_episode = 0
        self.decisions: Decisions | None = None
        """The studies decided in the last step, None right after a reset."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Begin new episodes with the next studies; a seed begins the order of studies anew."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.task.order.restart()
        self._step_in_episode = 0
        self.decisions = None
        return self._show_next(), {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[FloatArray, FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Decide the studies that are shown, and show the next ones.

        Raises:
            ValueError: If the actions have another shape or are not finite.
            RuntimeError: If reset was not called.
        """
        if self._shown is None:
            raise RuntimeError("expected a call of reset before step")
        decisions = self.task.decide_shown(self.task.weights(actions, self._shown.studies), self._shown)
        rewards = self.task.rewards(decisions)
        self.decisions = decisions
        self._step_in_episode = (self._step_in_episode + 1) % self.task.episode_length
        done = self._step_in_episode == 0
        infos = self._step_infos(decisions, done) if self._infos else {}
        observations = self._show_next()
        terminations = np.full(self.num_envs, done)
        return observations, rewards, terminations, np.zeros(self.num_envs, dtype=np.bool_), infos

    def render(self) -> tuple[Any, ...] | None:
        """Show the studies just decided, or after a reset those to be decided, one frame per env."""
        if self.render_mode is None or self._shown is None:
            return None
        return tuple(
            render_study(self.task.table, int(study), self.decisions, position)
            for position, study in enumerate(self._shown.studies)
        )

    def _show_next(self) -> FloatArray:
        """Move on to the next studies and give their observations, a new array."""
        draws = self.task.draws_per_study
        studies = self.task.order.take(self.num_envs // draws, self.np_random)
        observations, self._shown = self.task.columns.gather(
            studies if draws == 1 else np.repeat(studies, draws)
        )
        if self._infos:  # what is handed out may be written to; this copy becomes final_obs
            self._observations = observations.copy()
        return observations

    def _step_infos(self, decisions: Decisions, done: bool) -> dict[str, Any]:
        masks = np.ones((5, self.num_envs), dtype=np.bool_)
        infos = {
            "weights": decisions.weights.T,
            "_weights": masks[0],
            "prediction": decisions.predictions,
            "_prediction": masks[1],
            "study": decisions.studies.copy(),
            "_study": masks[2],
        }
        if done:
            infos |= {
                "final_info": infos.copy(),
                "_final_info": masks[3],
                "final_obs": self._observations,
                "_final_obs": masks[4],
            }
        return infos
