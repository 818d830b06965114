"""What a benchmark says of the agents: one document of figures, intervals, tests and behaviour."""
