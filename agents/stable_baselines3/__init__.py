"""Agents that Stable-Baselines3 and sb3-contrib train, and the adapter to their vector environments."""
