"""How on-policy algorithms of stable-baselines3 gather experience where every episode is one step."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv


class OneStepRollouts(OnPolicyAlgorithm):
    """Rollouts of one-step episodes, to the bit those of stable-baselines3.

    Its own also ask the critic what the observation after the last step is worth, which would be another pass
    through the network in every update here, and look through every environment's information for a time
    limit. No study follows from another, and none is cut short: both come to nothing.
    """

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill a rollout buffer.

        Args:
            env: Environments with actions in a box, of which every step ends all episodes.
            callback: Called at the beginning, at every step and at the end.
            rollout_buffer: The buffer.
            n_rollout_steps: Steps of all environments that it holds.

        Returns:
            Whether the callback lets the training go on.
        """
        assert isinstance(self.action_space, spaces.Box)  # noqa: S101 - the environment of a stack
        low, high = self.action_space.low, self.action_space.high
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        for _ in range(n_rollout_steps):
            shown: Any = self._last_obs
            with torch.no_grad():
                chosen, values, log_densities = self.policy(torch.as_tensor(shown, device=self.device))
            actions = chosen.cpu().numpy()
            self._last_obs, rewards, dones, _ = env.step(np.clip(actions, low, high))  # type: ignore[assignment]  # no dictionaries here
            self.num_timesteps += env.num_envs
            if not callback.on_step():
                return False
            starts: Any = self._last_episode_starts
            rollout_buffer.add(shown, actions, rewards, starts, values, log_densities)
            self._last_episode_starts = dones
        rollout_buffer.compute_returns_and_advantage(torch.zeros_like(values), dones)
        callback.on_rollout_end()
        return True


def with_one_step_rollouts(algorithm: type[OnPolicyAlgorithm]) -> type[OnPolicyAlgorithm]:
    """Return an on-policy algorithm's class with such rollouts."""
    return type(algorithm.__name__, (OneStepRollouts, algorithm), {})
