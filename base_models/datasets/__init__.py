"""Data sets of radiographs behind one study index.

`open_dataset` recognises the kind of a folder; `list_datasets` names the kinds.
"""

from base_models.datasets import fracatlas, mura, studies_csv  # noqa: F401  # a reader registers its kind
from base_models.datasets.registry import list_datasets, open_dataset
from base_models.datasets.study import Dataset, Study

__all__ = ["Dataset", "Study", "list_datasets", "open_dataset"]
