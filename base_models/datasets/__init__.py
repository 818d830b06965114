"""Data sets of radiographs behind one study index.

`open_dataset` recognises the kind of a folder; `list_datasets` names the kinds.
"""

from base_models.datasets import fracatlas, mura, studies_csv  # noqa: F401  # a reader registers its kind
from base_models.datasets.registry import (
    DATASETS,
    DatasetReader,
    list_datasets,
    open_dataset,
    register_dataset,
)
from base_models.datasets.study import Dataset, Study

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetReader",
    "Study",
    "list_datasets",
    "open_dataset",
    "register_dataset",
]
