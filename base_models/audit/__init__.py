"""Checking a data set before anything is learned from it: what is there and what is wrong."""

from base_models.audit.report import audit_dataset

__all__ = ["audit_dataset"]
