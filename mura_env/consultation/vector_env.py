"""The natively batched environment: many consultations, which end at different times."""

from __future__ import annotations

from os import PathLike
from typing import Any, Unpack

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from mura_env.combination import FloatArray
from mura_env.consultation.scalar_env import EnsembleConsultationEnv
from mura_env.consultation.task import ConsultationOptions, Consultations, ConsultationTask
from mura_env.errors import UserError
from mura_env.predictions import Predictions
from mura_env.rendering import render_consultation
from mura_env.rewards import Decisions
from mura_env.table_spec import SpecOfTable
from mura_env.weighting_task import require_one_of


class EnsembleConsultationVectorEnv(VectorEnv[FloatArray, NDArray[Any], NDArray[Any]]):
    """`EnsembleConsultationEnv`, ``num_envs`` studies at a time, by the same rules to the bit.

    Episodes begin with the studies and prices of one common order, envs that end in the same step in the
    order of their rows: the k-th episode to begin is episode k of the scalar env with the same seed. They end
    at different times; the next one begins in the same step (`AutoresetMode.SAME_STEP`).

    ``infos``, each with its mask ``_key``: ``action_mask`` bool ``(num_envs, n_models + 1)``, which after the
    end of an episode belongs to the new study. Of a step also, of the study asked about or answered,
    ``consulted`` bool ``(num_envs, n_models)``, ``spent`` and ``weights`` float32, ``prediction`` and
    ``study`` int64; where episodes ended ``final_obs`` float32 ``(num_envs, n_columns)``, a copy of the
    observations at the end, and ``final_info`` with the same entries, its ``action_mask`` of the study that
    was answered. ``infos=False`` leaves all of it out.

    Args:
        predictions: The table, or the path of one.
        num_envs: Studies at a time.
        infos: Whether ``infos`` is filled.
        render_mode: ``ansi`` or None.
        max_episode_steps: What `gymnasium.make_vec` passes on: at least the number of models, since episodes
            are never truncated.
        **options: Those of `mura_env.consultation.task.ConsultationTask`, which describes each.
    """

    metadata = {**EnsembleConsultationEnv.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
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
        **options: Unpack[ConsultationOptions],
    ) -> None:
        require_one_of("render_mode", render_mode, (None, "ansi"))
        self.task = ConsultationTask(predictions, **options)
        self.task.columns.compute_beforehand()
        n_models = self.task.table.n_models
        if max_episode_steps is not None and max_episode_steps < n_models:
            raise UserError(
                f"expected max_episode_steps of at least {n_models}, the number of models, got "
                f"{max_episode_steps}: episodes end by themselves"
            )
        if not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise UserError(f"expected num_envs as a positive whole number, got {num_envs}")
        self.num_envs = int(num_envs)
        self.single_observation_space = self.task.single_observation_space
        self.single_action_space = self.task.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.render_mode = render_mode
        self._infos = infos
        self._state: Consultations | None = None
        self.decisions: Decisions | None = None
        """The answers after the last step, of the studies asked about then."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Begin new consultations; a seed begins the orders of studies and prices anew."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.task.restart()
        self._state = self.task.next(self.num_envs, self.np_random)
        observations = self.task.observe(self._state)
        self.decisions = self.task.answer(self._state, observations)
        return observations, self._masked({"action_mask": self.action_masks()}) if self._infos else {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[FloatArray, FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Ask or answer in every env; where a consultation is over, begin the next one.

        Raises:
            ValueError: If actions have another shape or are out of range.
            RuntimeError: If reset was not called.
        """
        if self._state is None:
            raise RuntimeError("expected a call of reset before step")
        state = self._state
        observations, self.decisions, rewards, done = self.task.step(state, np.asarray(actions))
        infos = self._step_infos(state, self.decisions, observations, done) if self._infos else {}
        ended = np.flatnonzero(done)
        if ended.size:
            new = self.task.next(ended.size, self.np_random)
            observations[ended] = self.task.observe(new)
            state.replace(ended, new)
        if self._infos:
            infos |= self._masked({"action_mask": self.action_masks()})
        return observations, rewards, done, np.zeros(self.num_envs, dtype=np.bool_), infos

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the mask of each env, bool ``(num_envs, n_models + 1)``."""
        if self._state is None:
            raise RuntimeError("expected a call of reset before action_masks")
        return self.task.action_masks(self._state)

    def render(self) -> tuple[Any, ...] | None:
        """Show who was asked and the present answers, one frame per env."""
        if self.render_mode is None or self._state is None:
            return None
        answers = self.task.answer(self._state, self.task.observe(self._state))
        return tuple(
            render_consultation(self.task, self._state, answers, position)
            for position in range(self.num_envs)
        )

    def _masked(self, entries: dict[str, Any], mask: NDArray[np.bool_] | None = None) -> dict[str, Any]:
        """Return entries, each with its mask of envs that have it, by default all."""
        own = np.ones(self.num_envs, dtype=np.bool_) if mask is None else mask
        return entries | {f"_{name}": own.copy() for name in entries}

    def _step_infos(
        self, state: Consultations, decisions: Decisions, observations: FloatArray, done: NDArray[np.bool_]
    ) -> dict[str, Any]:
        entries = {
            "consulted": state.consulted.T.copy(),
            "spent": observations[:, -2].copy(),
            "weights": decisions.weights.T.copy(),
            "prediction": decisions.predictions.copy(),
            "study": decisions.studies.copy(),
        }
        infos = self._masked(entries)
        if done.any():
            last = entries | {"action_mask": self.task.action_masks(state)}
            infos |= self._masked(
                {"final_obs": observations.copy(), "final_info": self._masked(last, done)}, done
            )
        return infos
