"""The environment for one consultation at a time."""

from __future__ import annotations

from os import PathLike
from typing import Any, Unpack

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from mura_env.combination import FloatArray
from mura_env.consultation.task import ConsultationOptions, Consultations, ConsultationTask
from mura_env.predictions import Predictions
from mura_env.rendering import render_consultation
from mura_env.rewards import Decisions
from mura_env.scalar_env import RenderModeError
from mura_env.table_spec import SpecOfTable


class EnsembleConsultationEnv(gymnasium.Env[FloatArray, Any]):
    """Ask the members of an ensemble one after the other, and answer: one study an episode.

    An action asks the member of its number, or answers (``n_models``); asking again counts as answering, and
    once all were asked the answer follows by itself, so an episode has at most ``n_models`` questions and is
    never truncated. A question costs price · cost; the answer earns the reward rule's (by default 1 if it is
    correct, else 0). Rewards are not discounted.

    ``info`` of a step and of a reset: ``action_mask`` bool ``(n_models + 1,)``, who was not asked yet, and
    answering. Of a step also ``consulted`` bool ``(n_models,)``, ``spent`` (the sum of costs), and of the
    present answer ``weights`` float32 ``(n_models,)``, ``prediction`` and ``study``, the row of the table.
    ``infos=False`` leaves it empty.

    Args:
        predictions: The table, or the path of one.
        infos: Whether ``info`` is filled.
        render_mode: ``ansi`` or None.
        **options: Those of `mura_env.consultation.task.ConsultationTask`, which describes each.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 2}  # noqa: RUF012 - gymnasium's own

    spec: EnvSpec | None = SpecOfTable()  # type: ignore[assignment]  # a descriptor

    def __init__(
        self,
        predictions: Predictions | str | PathLike[str],
        *,
        infos: bool = True,
        render_mode: str | None = None,
        **options: Unpack[ConsultationOptions],
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise RenderModeError(f"expected render_mode among None, 'ansi', got {render_mode!r}")
        self.task = ConsultationTask(predictions, **options)
        self.task.columns.compute_beforehand()
        self.observation_space: spaces.Space[Any] = self.task.single_observation_space
        self.action_space: spaces.Space[Any] = self.task.single_action_space
        self.render_mode = render_mode
        self._infos = infos
        self._state: Consultations | None = None
        self._over = True
        self.decisions: Decisions | None = None
        """The present answer."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Begin the consultation of the next study; a seed begins the orders of studies and prices anew."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.task.restart()
        self._state, self._over = self.task.next(1, self.np_random), False
        observations = self.task.observe(self._state)
        self.decisions = self.task.answer(self._state, observations)
        info = {"action_mask": self.action_masks()} if self._infos else {}
        return observations[0], info

    def step(self, action: Any) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Ask a member, or answer.

        Raises:
            ValueError: If the action is out of range.
            RuntimeError: If the episode is over or was not begun.
        """
        if self._state is None or self._over:
            raise RuntimeError("expected a call of reset before step: the episode is over or was not begun")
        state = self._state
        observations, self.decisions, rewards, done = self.task.step(state, np.asarray(action)[None])
        self._over = bool(done[0])
        info: dict[str, Any] = {}
        if self._infos:
            info = {
                "action_mask": self.action_masks(),
                "consulted": state.consulted[:, 0].copy(),
                "spent": float(observations[0, -2]),
                "weights": self.decisions.weights[:, 0].copy(),
                "prediction": int(self.decisions.predictions[0]),
                "study": int(state.studies[0]),
            }
        return observations[0], float(rewards[0]), self._over, False, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the mask that sb3-contrib's `MaskablePPO` asks for, bool ``(n_models + 1,)``."""
        if self._state is None:
            raise RuntimeError("expected a call of reset before action_masks")
        masks: NDArray[np.bool_] = self.task.action_masks(self._state)[0]
        return masks

    def render(self) -> Any:
        """Show who was asked, what they said, and the present answer, as text."""
        if self.render_mode is None or self._state is None or self.decisions is None:
            return None
        return render_consultation(self.task, self._state, self.decisions, 0)
