"""The training of one network: batches to selected weights."""
