"""What the agents that train policies on inner folds share: folds, the pull to a reference, and averaging."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Agent, Callback
from agents.config import MAX_UNITS, AgentConfig, require_at_most
from agents.parallel import TrainingInterrupted
from agents.policy.decision_rules import Decide, clipped_softmax
from agents.policy.independent_training import Snapshot, single_thread, stacked_state, train_separately
from agents.policy.inner_folds import InnerFold, fold_pairs, inner_folds
from agents.policy.monitor import Report, TrainingPlan, TrainingWatch
from agents.policy.networks.base import StackedNetwork, network_shapes
from agents.policy.networks.registry import NetworkName, make_policy_network
from agents.policy.reference import ReferenceChoice, choose_reference, reference_weights
from agents.policy.selection import PolicySelection
from agents.policy.stacked_env import PolicyStackEnv
from agents.storage import saved_layout
from mura_env import Predictions
from mura_env.combination import action_scale, log_reference
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout, observe
from mura_env.rewards import make_reward
from mura_env.utils.progress import Progress
from mura_env.weighting_task import contested

_CHUNK = 16_384
_NETWORK = "network."


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(AgentConfig):
    """Options of agents that train policies on inner folds.

    These are `gate` and all that learn by reinforcement, without `rlensemble_v1`, the published one.
    """

    total_steps: int = 50_000
    """Environment steps per policy; one policy is trained for every inner fold and pull strength."""
    reward: str = "correctness"
    """Name of the reward."""
    reference: ReferenceChoice = "chosen"
    """Weights that the policy is a residual on: uniform, static, static_per_body_part, or chosen (static
    where it beats uniform on the inner folds)."""
    kl_strengths: tuple[float, ...] = (0.0, 0.03, 0.1, 0.3)
    """Strengths of the pull towards the reference to choose from on inner folds, in ascending order."""
    n_folds: int = 5
    """Inner folds by patient, and policies whose weights are averaged."""
    n_checkpoints: int = 10
    """Epochs that a training is cut into, at most one per update; at the end of each, the policies are scored
    on their held-out fold and the callback is called."""
    min_contested: int = 20
    """With fewer contested studies, nothing is learned and the reference is returned. A study is contested
    where weights can change its reward: the members' verdicts differ or, if it reads them, probabilities."""
    network: NetworkName = "shared_head"
    """Policy network: a head shared by all members, that head with heads of their own for some body parts
    (body_part_attention), a plain network on the whole observation (mlp), or the published rlensemble_v1."""
    hidden_size: int = 16
    """Units in the hidden layer of the policy network."""
    attention_body_parts: tuple[str, ...] = ("shoulder", "elbow")
    """Body parts with a head of their own in the networks body_part_attention and rlensemble_v1."""
    attention_beta: float = 0.5
    """Share of a body part's own head in the networks body_part_attention and rlensemble_v1."""
    exploration: float = 1.0
    """Standard deviation of the exploration, in logits of the weights."""
    learning_rate: float = 0.1
    """Step size of Adam at the start; it falls linearly to zero."""

    def __post_init__(self) -> None:
        for name in ("total_steps", "n_checkpoints", "hidden_size", "exploration", "learning_rate"):
            if not getattr(self, name) > 0:
                raise UserError(f"expected {name} greater than 0, got {getattr(self, name)}")
        if self.n_folds < 2:
            raise UserError(f"expected n_folds of at least 2, got {self.n_folds}")
        if not 0 <= self.attention_beta <= 1:
            raise UserError(f"expected attention_beta from 0 to 1, got {self.attention_beta}")
        strengths = self.kl_strengths
        if not strengths or list(strengths) != sorted(set(strengths)) or strengths[0] < 0:
            raise UserError(f"expected kl_strengths in ascending order from 0 upwards, got {strengths}")
        for name in ("exploration", "learning_rate", "kl_strengths"):
            if not np.isfinite(getattr(self, name)).all():
                raise UserError(f"expected finite {name}, got {getattr(self, name)}")
        require_at_most(
            {
                "hidden_size": (self.hidden_size, MAX_UNITS),
                "n_folds": (self.n_folds, 1_000),
                "n_checkpoints": (self.n_checkpoints, 100_000),
            }
        )
        make_reward(self.reward)


ConfigType = TypeVar("ConfigType", bound=PolicyConfig)


class PolicyAgent(Agent[ConfigType]):
    """A weighting policy that is a residual on reference weights.

    The training table is cut into inner folds by patient. For every fold and every strength of the pull
    towards the reference, one policy learns from the other folds, all of them side by side, and is scored on
    the fold left out. The strength and the moment with the best score over all folds together are kept, and
    the weights of their policies, one per fold, are averaged. If nothing beats the reference, the reference
    is returned, as the environment takes it: no weight below 0.01. Only contested studies are shown, those
    where the choice of the weights can change the reward (`mura_env.weighting_task.contested`).

    An interrupt from the keyboard ends the training early, with the best policies until then. Where policies
    are trained one at a time, those of the folds that are finished take part in the choice and the average.

    A subclass writes `_train`. `agents.policy.monitor` says what can be watched meanwhile.

    Attributes:
        decide: How the network's outputs become weights.
        scores_average: Whether the network scores the members' average too, as a last candidate.
        trains_separately: Whether `_train` gets one policy at a time, not the whole stack.
    """

    learns_by_reinforcement = True
    decide: ClassVar[Decide] = staticmethod(clipped_softmax)
    scores_average: ClassVar[bool] = False
    trains_separately: ClassVar[bool] = False

    def _action(self) -> Literal["softmax", "select"]:
        """Return the environment's kind of action."""
        return "softmax"

    @abstractmethod
    def _env_width(self) -> tuple[int, int]:
        """Return the rows per policy and how many neighbouring rows show the same study."""

    @abstractmethod
    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        """Train the network on the environment.

        Args:
            env: The environment; only its `reset` and `step` tell anything about rewards.
            network: To be trained in place.
            seed: Seed of every random choice.
            report: To be called after every update.
        """

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        plan = self._plan(train, validation, seed, progress, callback)
        if plan.folds:
            try:
                if self.trains_separately:
                    self._train_one_by_one(plan)
                else:
                    self._train_side_by_side(plan)
            except KeyboardInterrupt:
                kept, selection = "the reference weights are kept", plan.watch.selection
                if selection.kept is not None:
                    kept = f"the best policies until then are kept, of {selection.n_folds} inner folds"
                message = (
                    f"the training of {self.name!r} was interrupted after {self.total_steps_:,} steps; {kept}"
                )
                warnings.warn(message, TrainingInterrupted, stacklevel=3)
        self._keep(train, plan)

    def _plan(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None = None,
        callback: Callback | None = None,
    ) -> TrainingPlan:
        """Cut the folds, fit the references, and make the stack of new policies."""
        config = self.config
        layout = ObservationLayout.of(train)
        self.observation_names_ = layout.names
        pairs = fold_pairs(train, validation, config.n_folds, seed)
        reference = choose_reference(pairs, config.reference)
        folds = []
        if contested(train, config.reward).sum() >= config.min_contested:
            folds = inner_folds(pairs, reference, config.reward)
        network = self._network(layout, max(1, len(folds) * len(config.kl_strengths)), seed)
        network.standardise(observe(train))
        first = {name: value.clone() for name, value in network.subset(slice(1)).state_dict().items()}
        plan = TrainingPlan(seed, reference, folds, network, first)
        if folds:
            plan.watch = TrainingWatch(
                self.name, config, self._selection(folds), seed, progress=progress, callback=callback
            )
        return plan

    def _keep(self, train: Predictions, plan: TrainingPlan) -> None:
        """Keep the best policies of a training, or the reference."""
        state = plan.first_state
        if plan.folds:
            self.learning_curve_ = plan.watch.learning_curve()
            if plan.watch.selection.kept is not None:
                state = plan.watch.selection.kept.state
        self.arrays_ = {"reference": reference_weights(train, plan.reference)}
        self.arrays_ |= {f"{_NETWORK}{name}": value.numpy().copy() for name, value in state.items()}

    def _train_side_by_side(self, plan: TrainingPlan) -> None:
        env = self._env(plan.folds, self.config.kl_strengths)
        with single_thread():
            self._train(
                env, plan.network, plan.seed, self._report(plan, env, plan.network, slice(env.n_policies))
            )
        env.close()

    def _report(
        self, plan: TrainingPlan, env: PolicyStackEnv, network: StackedNetwork, policies: slice
    ) -> Report:
        """Return what tells the watch of a plan how its policies do, those in a slice of the stack."""
        n_policies = len(range(network.n_policies)[policies])

        def report(steps: int, scalars: Mapping[str, float] | None = None) -> None:
            self.total_steps_ = steps * n_policies
            plan.watch.progress(steps)
            plan.watch.write(steps, n_policies, float(env.last_rewards[policies].mean()), scalars or {})
            if plan.watch.is_due(steps):
                plan.watch.checkpoint(steps, network.subset(policies), env.mean_rewards(policies))

        return report

    def _train_one_by_one(self, plan: TrainingPlan) -> None:
        config, network, watch = self.config, plan.network, plan.watch
        parts = [(fold, strength) for fold in plan.folds for strength in config.kl_strengths]
        networks = [network.subset(slice(index, index + 1)) for index in range(len(parts))]
        for single in networks:  # a subset shares its values, a training must not
            single.load_state_dict({k: v.clone() for k, v in single.state_dict().items()}, assign=True)
            single.requires_grad_(True)
        checkpoints = [
            config.total_steps * (i + 1) / config.n_checkpoints for i in range(config.n_checkpoints)
        ]
        training = train_separately(
            self._train,
            partial(self._single_env, parts),
            networks,
            seed=plan.seed,
            checkpoints=checkpoints,
            n_jobs=getattr(config, "n_jobs", 1),
        )
        snapshots: list[list[Snapshot]] = []
        try:
            with closing(training):
                for of_policy in training:
                    snapshots.append(of_policy)
                    self.total_steps_ += of_policy[-1].steps
                    watch.progress(len(snapshots) * config.total_steps // len(parts))
        except KeyboardInterrupt:
            n_finished = len(snapshots) // len(config.kl_strengths)
            if n_finished:
                watch.selection = self._selection(plan.folds[:n_finished])
                self._score_one_by_one(snapshots, network, watch)
            raise
        self._score_one_by_one(snapshots, network, watch)

    def _score_one_by_one(
        self, snapshots: list[list[Snapshot]], network: StackedNetwork, watch: TrainingWatch
    ) -> None:
        """Put the policies of the folds that are scored next to each other, checkpoint by checkpoint."""
        n_policies = watch.selection.n_folds * len(self.config.kl_strengths)
        stack = network.resized(n_policies)
        for moment in zip(*snapshots[:n_policies], strict=True):
            stack.load_state_dict(stacked_state([snapshot.state for snapshot in moment], stack))
            rewards = np.array([snapshot.mean_reward for snapshot in moment])
            watch.write(moment[0].steps, n_policies, float(rewards.mean()), moment[0].scalars)
            watch.checkpoint(moment[0].steps, stack, rewards)

    def _selection(self, folds: list[InnerFold]) -> PolicySelection:
        return PolicySelection(folds, self.config.kl_strengths, self.config.reward, type(self).decide)

    def _env(self, folds: list[InnerFold], strengths: tuple[float, ...]) -> PolicyStackEnv:
        width, draws = self._env_width()
        return PolicyStackEnv(
            folds, strengths, width, self.config.reward, draws_per_study=draws, action=self._action()
        )

    def _single_env(self, parts: list[tuple[InnerFold, float]], index: int) -> PolicyStackEnv:
        fold, strength = parts[index]
        return self._env([fold], (strength,))

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        own = replace(
            table,
            body_parts=np.minimum(body_parts, len(self.body_part_names_) - 1),
            body_part_names=self.body_part_names_,
        )
        layout = ObservationLayout.of(own)
        observations = observe(own)
        observations[body_parts == len(self.body_part_names_), layout.columns("body_part")] = 0.0
        network = self._restored(layout)
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

    def _network(self, layout: ObservationLayout, n_policies: int, seed: int = 0) -> StackedNetwork:
        return make_policy_network(
            self.config,
            layout,
            len(self.model_names_),
            n_policies,
            torch.Generator().manual_seed(seed),
            with_average=self.scores_average,
        )

    def _n_policies(self, layout: ObservationLayout) -> int:
        """Return how many policies the arrays hold: the first axis of any parameter."""
        name, _ = next(self._network(layout, 1).named_parameters())
        array = self.arrays_.get(f"{_NETWORK}{name}", np.empty(0))
        return max(1, len(array)) if array.ndim else 1

    def _restored(self, layout: ObservationLayout) -> StackedNetwork:
        network = self._network(layout, self._n_policies(layout))
        state = {
            name.removeprefix(_NETWORK): torch.from_numpy(array)
            for name, array in self.arrays_.items()
            if name.startswith(_NETWORK)
        }
        network.load_state_dict(state)
        return network

    def _check_arrays(self) -> None:
        n_models, n_parts = len(self.model_names_), len(self.body_part_names_)
        layout = saved_layout(
            self.observation_names_, self.model_names_, self.class_names_, self.body_part_names_
        )
        self._require_shape("reference", (n_parts + 1, n_models))
        shapes = network_shapes(lambda: self._network(layout, self._n_policies(layout)))
        for name, shape in shapes.items():
            self._require_shape(f"{_NETWORK}{name}", shape)
