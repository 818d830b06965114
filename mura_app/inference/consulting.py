"""A run whose members are asked one after the other: only those that an agent asks are loaded and run."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from agents import load_agent
from agents.agent import UNSEEN_PARTS
from agents.benchmark.consultation_document import ConsultationBenchmark
from agents.consultation.agent import OTHER_PART, Ask, Consultation, ConsultationAgent
from agents.storage import DOCUMENT_NAME
from base_models.datasets import Study
from base_models.members import TrainedMember, describe_trained_members, load_networks
from base_models.prediction import predict_studies_and_images
from mura_app.inference.ensemble import Ensemble
from mura_app.inference.sources import Views
from mura_app.prediction import Asked, MemberOpinion, StudyPrediction, shares
from mura_app.run_directory import RunDirectory
from mura_app.schema import EnsembleFacts, read_document
from mura_env import Predictions
from mura_env.cells import listed
from mura_env.errors import UserError, UserFileNotFoundError


class ConsultingEnsemble(Ensemble):
    """As `Ensemble`, with an agent that asks one member after the other.

    Attributes:
        price: What asking all members is worth, where a correct answer is worth 1.
        run: Folder with the members, whose networks are loaded when they are first asked.
    """

    chunk = 128

    def __init__(
        self,
        run: Path,
        members: Sequence[TrainedMember],
        agent: ConsultationAgent[Any],
        facts: EnsembleFacts,
        price: float,
    ) -> None:
        super().__init__(members, agent, facts)
        self.run, self.price, self._asking = run, price, agent
        self._loaded: dict[int, TrainedMember] = {}

    @classmethod
    def load(cls, run: str | Path, agent: str | None = None, price: float | None = None) -> Self:
        """Load an agent of consultation of a run, and what is known of the members but their networks.

        Args:
            run: The run directory, with what `mura benchmark --task consult` has written.
            agent: Name of the agent, or the folder of a saved one; by default the first that has learned a
                policy, which is the cascade where nothing learned was better on inner folds.
            price: What asking all members is worth; by default the agent's option.

        Raises:
            FileNotFoundError: If there is no such run or agent.
            ValueError: If the agent is none of consultation, or of other members, or a file is damaged.
        """
        path = Path(run).expanduser()
        if not path.is_dir():
            raise UserFileNotFoundError(f"expected a run, got {path}; check the path")
        loaded = load_agent(_agent_folder(RunDirectory(path), agent))
        if not isinstance(loaded, ConsultationAgent):
            raise UserError(
                f"expected an agent of consultation, got {loaded.name!r}; name another --agent, or leave out "
                "--consult"
            )
        members = describe_trained_members(path) if (path / "members").is_dir() else []
        names = [member.config.name for member in members]
        if members and tuple(names) != loaded.model_names_:
            raise UserError(
                f"expected an agent of the members {listed(names)}, got one of "
                f"{listed(loaded.model_names_)}; run `mura benchmark --task consult` on this run"
            )
        facts = EnsembleFacts(
            class_names=list(loaded.class_names_),
            body_part_names=list(loaded.body_part_names_),
            agent=loaded.name,
            seed=loaded.seed_,
            threshold=None,
            uniform_threshold=None,
            measured=None,
        )
        return cls(path, members, loaded, facts, loaded.config.price if price is None else price)

    def predict_table(self, table: Predictions) -> list[StudyPrediction]:
        """Consult members whose outputs are given; labels are not looked at.

        Raises:
            ValueError: If the table is of other members or classes.
        """
        names = [table.body_part_names[part] for part in table.body_parts]
        parts = [name if name in self.body_part_names else "" for name in names]
        found = self._consult(table.n_views.tolist(), parts, lambda member, rows: table.logits[rows, member])
        return [
            self._answer((str(table.study_ids[row]), parts[row], int(table.n_views[row])), found, row, own)
            for row, own in enumerate(table.probabilities)
        ]

    def _predicted(
        self, studies: Sequence[Study], views: Views, *, heat_maps: bool, names: Sequence[str] | None = None
    ) -> list[StudyPrediction]:
        if heat_maps:
            raise UserError("expected no heat maps where members are asked one after the other, got some")
        n_models, n_classes = len(self.members), len(self.class_names)
        logits = np.zeros((len(studies), n_models, n_classes), dtype=np.float32)

        def ask(member: int, rows: NDArray[np.int64]) -> NDArray[Any]:
            of = [studies[row] for row in rows]
            outputs, _ = predict_studies_and_images([self._network_of(member)], of, images=views.images)
            logits[rows, member] = outputs.logits[:, 0]
            return outputs.logits[:, 0]

        n_views = [len(study.image_paths) for study in studies]
        parts = [study.body_part for study in studies]
        found = self._consult(n_views, parts, ask)
        said = torch.from_numpy(logits).double().softmax(dim=-1).numpy()
        return [
            self._answer((study.study_id, parts[row], n_views[row]), found, row, said[row])
            for row, study in enumerate(studies)
        ]

    def _network_of(self, member: int) -> TrainedMember:
        """Return a member with its networks, which are loaded the first time."""
        if member not in self._loaded:
            described = self.members[member]
            networks = load_networks(self.run, described)
            self._loaded[member] = TrainedMember(**{**vars(described), "networks": networks})
        return self._loaded[member]

    def _consult(self, n_views: Sequence[int], parts: Sequence[str], ask: Ask) -> Consultation:
        agent = self._asking
        studies = Predictions.from_arrays(
            np.zeros((len(parts), len(agent.model_names_), len(self.class_names)), dtype=np.float32),
            None,
            [part or OTHER_PART for part in parts],
            n_views=n_views,
            model_names=agent.model_names_,
            class_names=self.class_names,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=UNSEEN_PARTS)
            return agent.consult(studies, self.price, ask=ask)

    def _answer(
        self, study: tuple[str, str, int], found: Consultation, row: int, said: NDArray[np.floating]
    ) -> StudyPrediction:
        """Put the answer on a study together; of `said`, the rows of the members asked are read."""
        study_id, part, n_views = study
        agent, n_classes = self._asking, len(self.class_names)
        asked = found.questions[row][found.questions[row] >= 0]
        probabilities = found.probabilities[row]
        uniform = said[asked].mean(axis=0) if len(asked) else np.full(n_classes, 1 / n_classes)
        costs = agent.arrays_["costs"].astype(np.float64)
        cost = float(costs[asked].sum() / costs.sum())
        agree = said[asked].argmax(axis=1) == probabilities.argmax()
        remarks = ["No body part was given: what holds for all that the run knows is taken."]
        return StudyPrediction(
            study_id=study_id,
            body_part=part or None,
            class_names=self.class_names,
            positive_class=self.positive_class,
            probabilities=shares(probabilities),
            predicted_class=self.class_names[int(probabilities.argmax())],
            threshold=None,
            agent=self.facts.agent,
            members=tuple(
                MemberOpinion(agent.model_names_[member], shares(said[member]), 1 / len(asked))
                for member in asked
            ),
            uniform_probabilities=shares(uniform),
            uniform_predicted_class=self.class_names[int(uniform.argmax())],
            agreement=float(agree.mean()) if len(asked) else 0.0,
            views=(),
            n_views=n_views,
            unlike=None,
            asked=Asked(self.price or 0.0, tuple(agent.model_names_[m] for m in asked), min(1.0, cost)),
            remarks=() if part or len(self.body_part_names) < 2 else tuple(remarks),
        )


def _agent_folder(run: RunDirectory, agent: str | None) -> Path:
    """Return the folder of the agent that is asked for, or of the default one."""
    if agent is not None and (Path(agent) / DOCUMENT_NAME).is_file():
        return Path(agent)
    document = run.consultation / "consultation.json"
    if not document.is_file():
        raise UserFileNotFoundError(
            f"expected agents of consultation in {run.consultation}, got none; run `mura benchmark --task "
            f"consult --out {run.path}` first, or name the folder of a saved one with --agent"
        )
    found = read_document(
        document,
        ConsultationBenchmark,
        "a finished benchmark of consultation",
        "run `mura benchmark --task consult` again",
    )
    agents = found["agents"]
    learned = [name for name, row in agents.items() if row["learns_policy"]]
    chosen = agent or next(iter([*learned, found["reference"]]))
    if chosen not in agents:
        raise UserError(
            f"expected an agent of consultation of the run ({', '.join(agents)}), got {chosen!r}; name one "
            "of these"
        )
    return run.consultation / "agents" / f"{chosen}-seed{found['seeds'][0]}"
