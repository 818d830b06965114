"""A trained run at work: studies in, verdicts out; what explains them, and what leaves the run with them."""
