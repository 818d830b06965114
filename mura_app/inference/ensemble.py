"""A trained run as one thing: members, calibration, a weighting agent and its thresholds."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from agents import Agent, load_agent
from base_models.datasets import Dataset, Study
from base_models.members import TrainedMember, load_trained_members
from base_models.prediction import ViewRecord, predict_studies_and_images
from base_models.study_features import StudyFeatures, load_study_features
from mura_app.inference.facts import (
    PACKED,
    REFERENCE,
    agent_folder,
    facts_of_run,
    require_agreement,
    require_network,
)
from mura_app.inference.heat_maps import study_maps
from mura_app.inference.pack_files import extracted, facts_of_pack
from mura_app.inference.sources import Source, Views, as_sources, decode_views, view_name
from mura_app.inference.unlike import TrainingImages, image_features, pixel_columns, unlikeness
from mura_app.inference.weighing import matched, weigh
from mura_app.prediction import FailedStudy, MemberOpinion, RuledOut, StudyPrediction, ViewOpinion, shares
from mura_app.run_directory import RunDirectory
from mura_app.schema import EnsembleFacts
from mura_env import Predictions
from mura_env.cells import listed, spelling
from mura_env.errors import UserError, UserFileNotFoundError
from mura_env.utils.progress import Progress

if TYPE_CHECKING:
    from agents.statistics.risk_control import RuleOut  # imports all of scipy's distributions

Floats = NDArray[np.float64]

CHUNK = 32
"""Studies that are decoded and predicted at once: memory does not grow with their number."""


class Ensemble:
    """Members, calibration, a weighting agent and thresholds, loaded once and asked often.

    Attributes:
        members: The trained members, in the order of the weights; none of a benchmark of tables.
        agent: The weighting agent.
        facts: Names, thresholds, and what was measured of explanations.
        training_images: By which unlike images are noticed; None where the run does not have it.
        features: How a study's features are made, for agents that read some; None for one that reads none.
        rule_out: The threshold below which studies are ruled out with a guarantee; None unless it is set.
    """

    chunk = CHUNK
    price: float | None = None
    """Where members are asked one after the other: what asking all is worth."""

    def __init__(
        self,
        members: Sequence[TrainedMember],
        agent: Agent[Any],
        facts: EnsembleFacts,
        training_images: TrainingImages | None = None,
        features: StudyFeatures | None = None,
    ) -> None:
        self.members, self.agent, self.facts = tuple(members), agent, facts
        self.training_images, self.features = training_images, features
        self.rule_out: RuleOut | None = None
        self.class_names, self.body_part_names = tuple(facts.class_names), tuple(facts.body_part_names)

    @classmethod
    def load(cls, run: str | Path, agent: str | None = None) -> Self:
        """Load a finished run, or the folder or archive that `mura pack` made of one.

        Args:
            run: The run directory, the packed folder, or its `.zip`.
            agent: The weighting agent of a run; see `mura_app.inference.facts.facts_of_run` for the default.

        Raises:
            FileNotFoundError: If there is no such run.
            ValueError: If it is not finished, has no such agent, or a file is damaged.
        """
        path = Path(run).expanduser()
        if path.is_file():
            with extracted(path) as folder:
                return cls.load(folder, agent)
        if not path.is_dir():
            raise UserFileNotFoundError(f"expected a run or a packed folder, got {path}; check the path")
        is_packed = (path / PACKED).is_file()
        facts = facts_of_pack(path, agent) if is_packed else facts_of_run(RunDirectory(path), agent)
        has_members = (path / "members").is_dir()
        reference, members = path / REFERENCE, load_trained_members(path) if has_members else []
        names = [member.config.name for member in members]
        weighting = load_agent(agent_folder(path, facts))
        require_agreement(path, members, weighting, facts)
        images = TrainingImages.load(reference) if reference.is_file() else None
        if images is not None:
            require_network(reference, members, images.member, images.fold)
        features = load_study_features(path, names) if weighting.feature_names_ else None
        return cls(members, weighting, facts, images, features)

    @property
    def positive_class(self) -> str | None:
        """Of two classes, the one that the threshold is on."""
        return self.class_names[1] if len(self.class_names) == 2 else None

    def predict(
        self,
        images: Source | Sequence[Source],
        body_part: str | None = None,
        *,
        heat_maps: bool = False,
        study_id: str = "study",
    ) -> StudyPrediction:
        """Predict one study.

        Args:
            images: Its radiographs, one or several: paths, bytes of files, arrays (height, width) or
                (height, width, 3), Pillow images, or DICOM.
            body_part: One of `body_part_names`; without one, the agent's weights are averaged over them.
            heat_maps: Make heat maps, one a member and radiograph, and their weighted sums.
            study_id: What the study is called.

        Raises:
            ValueError: If an image cannot be read, or the body part is none that the agent has learned from;
                the known ones are named.
        """
        self._require_members()
        self._check_part(body_part)
        sources = as_sources(images)
        names = [view_name(source, number) for number, source in enumerate(sources, start=1)]
        keys = [Path(f"{number}/{name}") for number, name in enumerate(names)]
        views = self._decoded(keys, [*zip(sources, names, strict=True)])
        if views.images.unreadable:
            raise UserError(next(iter(views.images.unreadable.values())))
        part = self._known_part(body_part) or ""
        study = Study(study_id, study_id, part, -1, "test", tuple(keys))
        return self._predicted([study], views, heat_maps=heat_maps, names=names)[0]

    def predict_studies(
        self,
        studies: Dataset | Sequence[Study],
        progress: Progress | None = None,
        *,
        heat_maps: bool = False,
    ) -> Iterator[StudyPrediction | FailedStudy]:
        """Yield the prediction of each study of a data set, or why there is none; the rest go on.

        The labels are not looked at. While some studies are predicted, the next ones are decoded.

        Args:
            studies: A data set, such as from `base_models.datasets.open_dataset`, or some of its studies.
            progress: Called as `progress("predicting studies", completed, total)`.
            heat_maps: As in `predict`.
        """
        self._require_members()
        chosen = studies.studies if isinstance(studies, Dataset) else tuple(studies)
        chunks = [chosen[start : start + self.chunk] for start in range(0, len(chosen), self.chunk)]

        def decoded(chunk: Sequence[Study]) -> Views:
            paths = [path for study in chunk for path in study.image_paths]
            return self._decoded(paths, [(path, str(path)) for path in paths])

        done = 0
        with ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(decoded, chunks[0]) if chunks else None
            for number, chunk in enumerate(chunks):
                assert waiting is not None  # noqa: S101 - there is one for each chunk
                views = waiting.result()
                if number + 1 < len(chunks):
                    waiting = ahead.submit(decoded, chunks[number + 1])
                failed = {study.study_id: why for study in chunk if (why := self._fault(study, views))}
                good = [
                    replace(study, body_part=self._known_part(study.body_part) or "")
                    for study in chunk
                    if study.study_id not in failed
                ]
                found = iter(self._predicted(good, views, heat_maps=heat_maps) if good else ())
                for study in chunk:
                    done += 1
                    why = failed.get(study.study_id)
                    yield next(found) if why is None else FailedStudy(study.study_id, why)
                    if progress is not None:
                        progress("predicting studies", done, len(chosen))

    def predict_table(self, table: Predictions) -> list[StudyPrediction]:
        """Weight members' outputs that are given; labels are not looked at.

        Body parts that the agent has not learned from, such as `all` of a table without any, count as none;
        members and classes are matched by name.

        Raises:
            ValueError: If the table is of other members or classes.
        """
        table = matched(self.agent, table)
        known = [self._known_part(name) or "" for name in table.body_part_names]
        parts = [known[part] for part in table.body_parts]
        weighed = weigh(self.agent, table, parts, self.body_part_names)
        return [
            self._result((str(table.study_ids[row]), parts[row], int(table.n_views[row])), members, *one)
            for row, (members, *one) in enumerate(zip(table.probabilities, *weighed, strict=True))
        ]

    def _require_members(self) -> None:
        if not self.members:
            raise UserError(
                "expected a run with trained members, got one of tables, which reads no radiographs; bring "
                "its members' outputs with --predictions"
            )

    def _known_part(self, part: object) -> str | None:
        """Return a body part as the run spells it; None where it does not know it."""
        return next((own for own in self.body_part_names if spelling(own) == spelling(str(part))), None)

    def _check_part(self, part: str | None) -> None:
        if part and self._known_part(part) is None:
            raise UserError(
                f"expected a body part that the run knows ({listed(self.body_part_names)}), got {part!r}; "
                "name one of these, or none"
            )

    def _decoded(self, keys: Sequence[Path], sources: Sequence[tuple[Source, str]]) -> Views:
        """Decode radiographs, and describe their pixels if unlike ones are noticed."""
        if self.training_images is None:
            return decode_views(self.members, keys, sources)
        return decode_views(self.members, keys, sources, pixel_columns, max(self.training_images.member, 0))

    def _fault(self, study: Study, views: Views) -> str | None:
        """Say why a study cannot be predicted, if it cannot."""
        bad = [why for path in study.image_paths if (why := views.images.unreadable.get(path))]
        if bad:
            return bad[0]
        try:
            self._check_part(study.body_part)
        except UserError as error:
            return str(error)
        return None

    def _predicted(
        self, studies: Sequence[Study], views: Views, *, heat_maps: bool, names: Sequence[str] | None = None
    ) -> list[StudyPrediction]:
        """Predict studies whose radiographs are decoded."""
        reference = self.training_images
        asked = (reference.member, reference.fold) if reference is not None else None
        record = ViewRecord(asked, heat_maps)
        of_studies, of_views = predict_studies_and_images(
            self.members, studies, images=views.images, features=self.features, record=record
        )
        table = Predictions.from_arrays(
            of_studies.logits,
            None,
            n_views=[len(study.image_paths) for study in studies],
            model_names=[member.config.name for member in self.members],
            class_names=self.class_names,
            features=of_studies.features,
            feature_names=of_studies.feature_names or None,
        )
        parts = [study.body_part for study in studies]
        weighed = weigh(self.agent, table, parts, self.body_part_names)
        paths = [path for study in studies for path in study.image_paths]
        far = None
        if reference is not None:
            pixels = np.array([views.described[path] for path in paths])
            far = reference.percentiles(image_features(pixels, record.embeddings))
        probabilities = torch.from_numpy(of_views.logits).double().softmax(dim=-1).numpy()
        results, start = [], 0
        for row, study in enumerate(studies):
            rows = slice(start, start + len(study.image_paths))
            start = rows.stop
            weights = weighed.weights[row]
            own = names or [str(path) for path in study.image_paths]
            about = study.study_id, parts[row], len(own)
            result = self._result(about, table.probabilities[row], weights, weighed.probabilities[row])
            shown = int(np.argmax(result.probabilities[1:]))  # the finding that is most probable
            results.append(
                replace(
                    result,
                    views=tuple(
                        ViewOpinion(name, shares(weights @ view))
                        for name, view in zip(own, probabilities[rows], strict=True)
                    ),
                    unlike=None if far is None else unlikeness(far[rows], own),
                    heat_maps=()
                    if not heat_maps
                    else study_maps(
                        self.members,
                        {m: maps[rows, shown] for m, maps in record.heat_maps.items()},
                        [views.placements[path] for path in study.image_paths],
                        weights.tolist(),
                        {m: maps[rows, 0] for m, maps in record.attention.items()},
                    ),
                )
            )
        return results

    def _result(
        self,
        study: tuple[str, str, int],
        members: NDArray[np.floating],
        weights: NDArray[np.floating],
        probabilities: NDArray[np.floating],
    ) -> StudyPrediction:
        """Put together what is known without looking at views; a study is its id, body part and views."""
        study_id, part, n_views = study
        uniform = members.astype(np.float64).mean(axis=0)
        several = len(self.body_part_names) > 1
        return StudyPrediction(
            study_id=study_id,
            body_part=part or None,
            class_names=self.class_names,
            positive_class=self.positive_class,
            probabilities=shares(probabilities),
            predicted_class=self._class_of(probabilities, self.facts.threshold),
            threshold=self.facts.threshold,
            agent=self.facts.agent,
            members=tuple(
                MemberOpinion(name, shares(own), float(min(weight, 1)))
                for name, own, weight in zip(self.agent.model_names_, members, weights, strict=True)
            ),
            uniform_probabilities=shares(uniform),
            uniform_predicted_class=self._class_of(uniform, self.facts.uniform_threshold),
            agreement=float((members.argmax(axis=1) == probabilities.argmax()).mean()),
            views=(),
            n_views=n_views,
            unlike=None,
            ruled_out=self._ruled_out(float(probabilities[1])),
            remarks=()
            if part or not several
            else ("No body part was given: the weights are averaged over all that the run knows.",),
        )

    def _ruled_out(self, probability: float) -> RuledOut | None:
        if self.rule_out is None:
            return None
        decision, positive = self.rule_out.decision(probability, self.class_names), self.class_names[1]
        return RuledOut(decision, self.rule_out.below, self.rule_out.sentence(positive))

    def _class_of(self, probabilities: NDArray[np.floating], threshold: float | None) -> str:
        if threshold is None or self.positive_class is None:
            return self.class_names[int(probabilities.argmax())]
        return self.class_names[int(probabilities[1] >= threshold)]
