"""Consultation: ask the members of an ensemble one after the other, each at its cost, and answer."""
