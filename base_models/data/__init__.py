"""Pixels to batches: cache, loader, augmentation, and the checks for data leakage."""
