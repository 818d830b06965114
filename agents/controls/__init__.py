"""Agents without reinforcement learning: what a learned weighting is measured against."""
