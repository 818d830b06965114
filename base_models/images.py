"""Reading one radiograph, under its public name."""

from base_models.imaging.reader import read_grey

__all__ = ["read_grey"]
