"""Policy networks: from observation columns to logits of the weights."""
