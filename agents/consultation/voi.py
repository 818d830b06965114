"""The myopic value of information: the member with the largest expected gain over its price."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.consultation.agent import ConsultationAgent, View
from agents.consultation.lattice import Lattice
from agents.consultation.networks import layer_arrays, network_outputs, new_network
from agents.consultation.policy import PolicyConfig, standardization
from agents.policy.networks.base import single_thread
from agents.registry import register_consultation_agent
from mura_env import Predictions
from mura_env.combination import IntArray
from mura_env.consultation.heads import all_subsets

_UPDATES, _STUDIES = 600, 128
_PREFIX = "gain_"


@register_consultation_agent("voi")
class ValueOfInformation(ConsultationAgent[PolicyConfig]):
    """Asks the member whose expected gain exceeds its price most, one question ahead (Howard 1966).

    A network learns by least squares from the training table how much more the answer earns after each
    question, from what is seen before. It knows no price: one network serves all.
    """

    config_class = PolicyConfig

    def _tuned(self, lattice: Lattice, table: Predictions, folds: IntArray) -> dict[str, NDArray[Any]]:
        mean, scale = standardization(lattice.observations, self.config.prices)
        mean[-1] = lattice.observations[0, 0, -1]  # a price of 1 for all: no price is read
        subsets, rng = all_subsets(lattice.n_models), np.random.default_rng(self.seed_)
        missing = torch.from_numpy(~subsets[:-1])[:, None]
        further = np.arange(len(subsets) - 1)[:, None] | 1 << np.arange(lattice.n_models)
        network = new_network(len(mean), self.config.hidden_size, lattice.n_models, self.seed_)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, _UPDATES)
        with single_thread():
            for _ in range(_UPDATES):
                rows = rng.integers(0, len(table), min(len(table), _STUDIES))
                rewards = lattice.rewards[:, rows]
                gains = rewards[further].transpose(0, 2, 1) - rewards[:-1, :, None]
                inputs = torch.from_numpy((lattice.observations[:-1, rows] - mean) / scale)
                errors = (network(inputs) - torch.from_numpy(gains)).square() * missing
                loss = errors.sum() / (missing.sum() * len(rows))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        arrays = layer_arrays(network[0], network[2], mean, scale)
        return {f"{_PREFIX}{name}": array for name, array in arrays.items()}

    def _act(self, view: View) -> IntArray:
        own = {n.removeprefix(_PREFIX): a for n, a in self.arrays_.items() if n.startswith(_PREFIX)}
        observations = view.observations.copy()
        observations[:, -1] = own["mean"][-1]
        gains = network_outputs(own, observations) - view.price * view.costs.T
        gains[view.consulted.T] = -np.inf
        return np.asarray(np.where(gains.max(axis=1) > 0, gains.argmax(axis=1), gains.shape[1]))

    def _check_arrays(self) -> None:
        super()._check_arrays()
        self._require_network(_PREFIX, (), self.config.hidden_size, len(self.model_names_))
