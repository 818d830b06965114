"""Predictions tables put together: what must be the same in all, and what is matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mura_env.cells import listed, spelling
from mura_env.errors import UserError

if TYPE_CHECKING:
    from mura_env.predictions import Predictions


def matched_to(table: Predictions, other: Predictions) -> Predictions:
    """Return a table with its models and classes in the order of another's, matched by name.

    Raises:
        ValueError: If they are not the same ones.
    """
    orders = {}
    for what, read in (("model_names", str), ("class_names", spelling)):
        wanted, got = ([read(name) for name in getattr(each, what)] for each in (other, table))
        if sorted(wanted) != sorted(got):
            raise UserError(
                f"expected tables of the same ensemble, with the {what.replace('_', ' ')} "
                f"{listed(getattr(other, what))}, got {listed(getattr(table, what))}"
            )
        orders[what] = [got.index(name) for name in wanted]
    models, classes = orders.values()
    if table.model_names == other.model_names and table.class_names == other.class_names:
        return table
    return replace(
        table,
        logits=table.logits[:, models][:, :, classes],
        labels=np.argsort(classes)[table.labels] if table.has_labels else table.labels,
        model_names=other.model_names,
        class_names=other.class_names,
        costs=None if table.costs is None else table.costs[models],
    )


def concatenated_columns(tables: Sequence[Predictions]) -> dict[str, Any]:
    """Return the fields of one table of all studies; see `mura_env.Predictions.concatenate`."""
    if not tables:
        raise ValueError("expected at least one table to concatenate, got none")
    first = tables[0]
    tables = [matched_to(table, first) for table in tables]
    for table in tables[1:]:
        if alone := sorted({*first.feature_names} ^ {*table.feature_names}):
            raise UserError(
                f"expected tables with the same features, got {alone[0]!r} in some of them only: drop it "
                "there with Predictions.with_features, or add it to the others"
            )
    costs = {tuple(table.costs.tolist()) for table in tables if table.costs is not None}
    if len(costs) > 1:
        raise UserError(f"expected tables whose models cost the same, got {' and '.join(map(str, costs))}")
    parts = tuple(dict.fromkeys(name for table in tables for name in table.body_part_names))
    own_parts = [[parts.index(table.body_part_names[i]) for i in table.body_parts] for table in tables]
    difficulties = [table.difficulty for table in tables if table.difficulty is not None]
    subgroups = [
        table.subgroups
        for table in tables
        if table.subgroups is not None and table.subgroup_names == first.subgroup_names
    ]
    matched = [table.with_features(first.feature_names).features for table in tables]
    features = [values for values in matched if values is not None]
    return {
        **{
            name: np.concatenate([getattr(table, name) for table in tables])
            for name in ("logits", "labels", "study_ids", "patient_ids", "n_views")
        },
        "body_parts": np.concatenate(own_parts),
        "model_names": first.model_names,
        "class_names": first.class_names,
        "body_part_names": parts,
        "difficulty": np.concatenate(difficulties) if len(difficulties) == len(tables) else None,
        "features": np.concatenate(features) if features else None,
        "feature_names": first.feature_names,
        "costs": next(iter(costs), None),
        "group_name": first.group_name,
        "subgroups": np.concatenate(subgroups) if len(subgroups) == len(tables) else None,
        "subgroup_names": first.subgroup_names if len(subgroups) == len(tables) else (),
    }
