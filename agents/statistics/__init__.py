"""Intervals and paired tests that respect patients."""
