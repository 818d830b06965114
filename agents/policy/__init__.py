"""What all agents that learn by reinforcement share: network, reference, inner folds and selection."""
