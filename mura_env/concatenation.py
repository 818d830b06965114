"""Predictions tables below one another: what must be the same in all, and what is matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mura_env.errors import UserError

if TYPE_CHECKING:
    from mura_env.predictions import Predictions


def concatenated_columns(tables: Sequence[Predictions]) -> dict[str, Any]:
    """Return the fields of one table of all studies; see `mura_env.Predictions.concatenate`."""
    if not tables:
        raise ValueError("expected at least one table to concatenate, got none")
    first = tables[0]
    for table in tables[1:]:
        for name in ("model_names", "class_names"):
            if getattr(table, name) != getattr(first, name):
                both = f"{getattr(first, name)} and {getattr(table, name)}"
                raise UserError(f"expected tables of equal {name}, got {both}")
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
    }
