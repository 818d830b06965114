"""What the agents that train policies on inner folds share: folds, KL penalty, selection and averaging."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Agent
from agents.config import (
    Checkpoints,
    Coefficient,
    Exploration,
    FeaturesConfig,
    LearningRate,
    Share,
    Steps,
    StudiesOfTable,
    Units,
    are_to_choose,
)
from agents.mixture import ReferenceChoice, choose_reference, fold_pairs, reference_weights
from agents.monitor import Callback, Report, TrainingMonitor
from agents.parallel import TrainingInterrupted
from agents.policy.independent_training import Snapshot, score_snapshots, train_independently
from agents.policy.networks import NETWORKS, NetworkName
from agents.policy.networks.base import (
    NETWORK_PREFIX,
    StackedNetwork,
    load_arrays,
    network_arrays,
    observe_with_parts,
    single_thread,
)
from agents.policy.selection import DecisionRule, InnerFold, PolicySelection, clipped_softmax, inner_folds
from agents.policy.stacked_env import PolicyStackEnv
from agents.storage import saved_layout
from mura_env import Predictions
from mura_env.combination import action_scale, log_reference
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout
from mura_env.rewards import make_reward
from mura_env.utils.options import Range
from mura_env.utils.progress import Progress
from mura_env.weighting_task import contested

_CHUNK = 16_384


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(FeaturesConfig):
    """Options of agents that train policies on inner folds.

    These are `gate` and all that learn by reinforcement, without `rlensemble_v1`, the published one.
    """

    total_steps: Steps = 50_000
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    reward: str = "correctness"
    """Name of the reward."""
    reference: ReferenceChoice = "chosen"
    """Reference weights, to which the policy adds: uniform, static, static_per_body_part, or chosen (static
    where it beats uniform on the inner folds)."""
    kl_coefficients: tuple[Coefficient, ...] = (0.0, 0.03, 0.1, 0.3)
    """KL coefficients, of the penalty for leaving the reference, to select from on inner folds; ascending."""
    n_folds: Annotated[int, Range("[2, 1000]")] = 5
    """Inner folds by patient, and policies whose weights are averaged."""
    n_checkpoints: Checkpoints = 10
    """Epochs of a training, at most one per update; at the end of each, the policies are scored on their
    held-out fold and the callback is called."""
    min_contested: StudiesOfTable = 20
    """With fewer contested studies, nothing is learned and the reference is returned. A study is contested
    where weights can change its reward: the members' predictions differ or, if it reads them, their
    probabilities."""
    network: NetworkName = "shared_head"
    """Policy network: a head shared by all members, that head with heads of their own for some body parts
    (body_part_attention), a plain network on the whole observation (mlp), or the published rlensemble_v1."""
    hidden_size: Units = 16
    """Units in the hidden layer of the policy network."""
    attention_body_parts: tuple[str, ...] = ("shoulder", "elbow")
    """Body parts with a head of their own in the networks body_part_attention and rlensemble_v1."""
    attention_beta: Share = 0.5
    """Share of a body part's own head in the networks body_part_attention and rlensemble_v1."""
    exploration: Exploration = 1.0
    """Exploration noise: its standard deviation, in logits of the weights."""
    learning_rate: LearningRate = 0.1
    """Learning rate of Adam at the start; it falls linearly to zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        coefficients = self.kl_coefficients
        if not coefficients or list(coefficients) != sorted(set(coefficients)):
            raise UserError(f"expected kl_coefficients in ascending order from 0 upwards, got {coefficients}")
        make_reward(self.reward)


@dataclass(frozen=True)
class _Learned:
    """What one training has come to."""

    feature_names: tuple[str, ...]
    observation_names: tuple[str, ...]
    arrays: dict[str, NDArray[Any]]
    learning_curve: list[dict[str, float]]
    selection: PolicySelection | None
    """What selected the policies, None where nothing was to be learned."""
    interrupted: bool

    def leads(self, other: "_Learned") -> bool:
        """Tell whether its policies are better than those of another training."""
        both = self.selection, other.selection
        return both[0] is not None and both[1] is not None and both[0].leads(both[1])


ConfigType = TypeVar("ConfigType", bound=PolicyConfig)


class PolicyAgent(Agent[ConfigType]):
    """A weighting policy that adds to the logits of reference weights.

    The training table is cut into inner folds by patient. For every fold and every coefficient of the KL
    penalty towards the reference, one policy learns from the other folds, all of them as one stack, and is
    scored on the fold left out. The coefficient and the checkpoint with the best score over all folds
    together are selected, and the weights of their policies, one per fold, are averaged. If nothing beats the
    reference, the reference is returned, as the environment takes it: no weight below 0.01. Only contested
    studies are shown, those where the choice of the weights can change the reward
    (`mura_env.weighting_task.contested`).

    Where it is left open whether the table's features are read, policies are trained without and with them,
    one training after the other, and those with them are taken only if they score better on the held-out
    studies, by more than one standard error of the paired difference. The learning curve is that of the
    training taken; the callback is called in both.

    An interrupt from the keyboard ends the training early, with the best policies until then. Where policies
    are trained one at a time, those of the folds that are finished take part in selection and average.

    A subclass writes `_train`. `agents.monitor` says what can be monitored meanwhile.

    Attributes:
        decide: How the network's outputs become weights.
        trains_independently: Whether `_train` gets one policy at a time, not the whole stack.
    """

    learns_by_reinforcement = True
    decide: ClassVar[DecisionRule] = staticmethod(clipped_softmax)
    trains_independently: ClassVar[bool] = False

    def _action(self) -> Literal["softmax", "select"]:
        """Return the environment's kind of action."""
        return "softmax"

    def _scores_average(self) -> bool:
        """Tell whether the network scores the members' average too, as a last candidate."""
        return False

    @abstractmethod
    def _env_width(self) -> tuple[int, int]:
        """Return the rows per policy and how many neighbouring rows show the same study."""

    @abstractmethod
    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        """Train the network in place; only the environment's `reset` and `step` tell anything about rewards.

        `report` is to be called after every update.
        """

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        candidates = [(self.name, train, validation)]
        if are_to_choose(self.config, train):
            plain = None if validation is None else validation.with_features("none")
            with_features = f"{self.name}-features", train, validation
            candidates = [(self.name, train.with_features("none"), plain), with_features]
        best: _Learned | None = None
        for name, learn, score in candidates:
            learned = self._learn(name, learn, score, seed, progress=progress, callback=callback)
            if best is None or learned.leads(best):
                best = learned
            if learned.interrupted or learned.selection is None:
                break
        assert best is not None  # noqa: S101 - there is a candidate
        self.feature_names_, self.observation_names_ = best.feature_names, best.observation_names
        self.learning_curve_, self.arrays_ = best.learning_curve, best.arrays

    def _learn(
        self,
        name: str,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        *,
        progress: Progress | None,
        callback: Callback | None,
    ) -> _Learned:
        """Train policies, which read all features of the tables; monitored under a name."""
        config, curve, interrupted = self.config, list[dict[str, float]](), False
        selection: PolicySelection | None = None
        pairs = fold_pairs(train, validation, config.n_folds, seed)
        reference = choose_reference(pairs, config.reference)
        enough = contested(train, config.reward).sum() >= config.min_contested
        folds = inner_folds(pairs, reference, config.reward) if enough else []
        network = self._new_network(train, max(1, len(folds) * len(config.kl_coefficients)), seed)
        state = {name: value.clone() for name, value in network.subset(slice(1)).state_dict().items()}
        if folds:
            monitor = TrainingMonitor(
                name, config, self._selection(folds), seed, progress=progress, callback=callback
            )
            train_policies = self._train_one_by_one if self.trains_independently else self._train_stack
            try:
                train_policies(folds, network, seed, monitor)
            except KeyboardInterrupt:
                interrupted = True
                self._warn_of_interrupt(monitor.selection)
            curve, selection = monitor.learning_curve(), monitor.selection
            if not self.learns_by_reinforcement:
                self.total_steps_ = 0  # no step of an environment was made
            if selection.selected is not None:
                state = selection.selected.state
        # A new policy stands for the reference: it is what remains where nothing is learned or selected.
        arrays = {"reference": reference_weights(train, reference), **network_arrays(state)}
        names = ObservationLayout.of(train).names
        return _Learned(train.feature_names, names, arrays, curve, selection, interrupted)

    def _train_stack(
        self, folds: list[InnerFold], network: StackedNetwork, seed: int, monitor: TrainingMonitor
    ) -> None:
        env, before = self._env(folds, self.config.kl_coefficients), self.total_steps_

        def report(steps: int, scalars: Mapping[str, float]) -> None:
            self.total_steps_ = before + steps * env.n_policies
            monitor.progress(steps)
            monitor.log(steps, env.n_policies, float(env.last_rewards.mean()), scalars)
            if monitor.is_due(steps):
                monitor.checkpoint(steps, network, env.mean_rewards())

        with single_thread():
            self._train(env, network, seed, report)
        env.close()

    def _train_one_by_one(
        self, folds: list[InnerFold], network: StackedNetwork, seed: int, monitor: TrainingMonitor
    ) -> None:
        config = self.config
        envs = [partial(self._env, [fold], (kl,)) for fold in folds for kl in config.kl_coefficients]
        epochs = range(1, config.n_checkpoints + 1)
        training = train_independently(
            self._train,
            envs,
            network,
            seed=seed,
            checkpoints=[config.total_steps * epoch / config.n_checkpoints for epoch in epochs],
            n_jobs=getattr(config, "n_jobs", 1),
        )
        finished: list[list[Snapshot]] = []
        try:
            with closing(training):
                for snapshots in training:
                    finished.append(snapshots)
                    self.total_steps_ += snapshots[-1].steps
                    monitor.progress(len(finished) * config.total_steps // len(envs))
        except KeyboardInterrupt:
            n_folds = len(finished) // len(config.kl_coefficients)
            if n_folds:
                monitor.selection = self._selection(folds[:n_folds])
                n_policies = n_folds * len(config.kl_coefficients)
                score_snapshots(finished[:n_policies], network.resized(n_policies), monitor)
            raise
        score_snapshots(finished, network, monitor)

    def _warn_of_interrupt(self, selection: PolicySelection) -> None:
        best = f"the best policies until then are kept, of {selection.n_folds} inner folds"
        kept = "the reference weights are kept" if selection.selected is None else best
        message = f"the training of {self.name!r} was interrupted after {self.total_steps_:,} steps; {kept}"
        warnings.warn(message, TrainingInterrupted, stacklevel=4)

    def _selection(self, folds: list[InnerFold]) -> PolicySelection:
        return PolicySelection(folds, self.config.kl_coefficients, self.config.reward, type(self).decide)

    def _env(self, folds: list[InnerFold], kl_coefficients: tuple[Coefficient, ...]) -> PolicyStackEnv:
        width, draws = self._env_width()
        return PolicyStackEnv(
            folds, kl_coefficients, width, self.config.reward, draws_per_study=draws, action=self._action()
        )

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        observations, layout = observe_with_parts(table, body_parts, self.body_part_names_)
        network = self.fitted_network(layout)
        load_arrays(network, self.arrays_)
        log_references = log_reference(self.arrays_["reference"].T)
        scale = action_scale(log_references[:, :-1])
        weights = np.zeros((len(table), table.n_models))
        with single_thread(), torch.no_grad():
            for start in range(0, len(table), _CHUNK):
                rows = slice(start, start + _CHUNK)
                batch = torch.from_numpy(observations[rows]).expand(network.n_policies, -1, -1)
                references = log_references[:, body_parts[rows]]
                for outputs in network(batch).numpy():
                    weights[rows] += type(self).decide(outputs, scale, references).T
        return weights

    def _new_network(self, train: Predictions, n_policies: int, seed: int) -> StackedNetwork:
        """Return a stack of policies before training."""
        network = self._network(ObservationLayout.of(train), n_policies, torch.Generator().manual_seed(seed))
        network.standardise(train)
        return network

    def _network(
        self, layout: ObservationLayout, n_policies: int, generator: torch.Generator | None = None
    ) -> StackedNetwork:
        config = self.config
        return NETWORKS[config.network](
            layout,
            len(self.model_names_),
            n_policies,
            config.hidden_size,
            generator,
            with_average=self._scores_average(),
            body_parts=config.attention_body_parts,
            beta=config.attention_beta,
        )

    def fitted_network(self, layout: ObservationLayout) -> StackedNetwork:
        """Return a network, not yet filled, of as many policies as the arrays hold: any one's first axis."""
        name, _ = next(self._network(layout, 1).named_parameters())
        array = self.arrays_.get(f"{NETWORK_PREFIX}{name}", np.empty(0))
        return self._network(layout, max(1, *array.shape[:1]) if array.ndim else 1)

    def _check_arrays(self) -> None:
        layout = saved_layout(
            self.observation_names_,
            self.model_names_,
            self.class_names_,
            self.body_part_names_,
            self.feature_names_,
        )
        self._require_shape("reference", (len(self.body_part_names_) + 1, len(self.model_names_)))
        for name, value in self.fitted_network(layout).state_dict().items():
            self._require_shape(f"{NETWORK_PREFIX}{name}", tuple(value.shape))
