"""The environment for one study at a time."""

from __future__ import annotations

from os import PathLike
from typing import Any, Unpack

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from mura_env.combination import FloatArray, IntArray
from mura_env.errors import UserError
from mura_env.observations import StudyBatch
from mura_env.predictions import Predictions
from mura_env.rendering import render_study
from mura_env.rewards import Decisions
from mura_env.table_spec import SpecOfTable
from mura_env.weighting_task import TaskOptions, WeightingTask


class RenderModeError(UserError, TypeError):
    """A mode of rendering that the environment does not have.

    Stable-Baselines3's `make_vec_env` asks any environment for `rgb_array`, and after a `TypeError` for none.
    """


class EnsembleWeightingEnv(gymnasium.Env[FloatArray, Any]):
    """Weight the members of an ensemble, one study a step.

    A step's reward lies in the range of the chosen reward rule (for ``correctness``, -1 or +1), and the
    episode terminates after ``episode_length`` studies, by default after one; it is never truncated. The last
    observation of an episode is that of the study just decided on.

    ``info`` of a step: ``weights`` float32 ``(n_models,)``, ``prediction`` (the predicted class) and
    ``study`` (the row of the table that was decided on). ``infos=False`` leaves it empty.

    Args:
        predictions: The table, or the path of one.
        infos: Whether ``info`` is filled.
        render_mode: ``ansi`` or None.
        **options: Those of `mura_env.weighting_task.WeightingTask`, which describes each.
    """

    spec: EnvSpec | None = SpecOfTable()  # type: ignore[assignment]  # a descriptor
    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 2}  # noqa: RUF012 - gymnasium's own

    def __init__(
        self,
        predictions: Predictions | str | PathLike[str],
        *,
        infos: bool = True,
        render_mode: str | None = None,
        **options: Unpack[TaskOptions],
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise RenderModeError(f"expected render_mode among None, 'ansi', got {render_mode!r}")
        self.task = WeightingTask(predictions, **options)
        self.observation_space: spaces.Space[Any] = self.task.single_observation_space
        self.action_space: spaces.Space[Any] = self.task.single_action_space
        self.render_mode = render_mode
        self._infos = infos
        self._studies: IntArray = np.empty(0, dtype=np.int64)  # of the episode
        self._position = 0  # in the episode
        self._draws_left = 0
        self._shown: StudyBatch | None = None
        self.decisions: Decisions | None = None
        """The study decided in the last step, None right after a reset."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Show the next study; a seed begins the order of studies anew."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.task.order.restart()
            self._draws_left = 0
        if self._draws_left == 0:
            self._studies = self.task.order.take(self.task.episode_length, self.np_random)
            self._draws_left = self.task.draws_per_study
        self._draws_left -= 1
        self.decisions = None
        return self._show(0), {}

    def step(self, action: Any) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Decide the study that is shown.

        Raises:
            ValueError: If the action has another shape or is not finite.
            RuntimeError: If the episode is over or was not begun.
        """
        if self._shown is None:
            raise RuntimeError("expected a call of reset before step: the episode is over or was not begun")
        shown = self._shown
        weights = self.task.weights(np.asarray(action)[None], shown.studies)
        decisions = self.task.decide_shown(weights, shown)
        reward = float(self.task.rewards(decisions)[0])
        self.decisions = decisions
        info: dict[str, Any] = {}
        if self._infos:
            study, prediction = int(shown.studies[0]), int(decisions.predictions[0])
            info = {"weights": weights[:, 0].copy(), "prediction": prediction, "study": study}
        if self._position + 1 < self._studies.size:
            return self._show(self._position + 1), reward, False, False, info
        self._shown = None
        return self.task.columns.observations[shown.studies[0]].copy(), reward, True, False, info

    def _show(self, position: int) -> FloatArray:
        """Move to a study of the episode and give its observation, a new array."""
        self._position = position
        observations, self._shown = self.task.columns.gather(self._studies[position : position + 1])
        observation: FloatArray = observations[0]
        return observation

    def render(self) -> Any:
        """Show the study just decided, or after a reset the one to be decided, as text."""
        if self.render_mode is None or (self._shown is None and self.decisions is None):
            return None
        study = -1 if self._shown is None else int(self._shown.studies[0])
        return render_study(self.task.table, study, self.decisions)
