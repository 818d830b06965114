"""What the agents that train policies on inner folds share: network, reference, inner folds and selection."""
