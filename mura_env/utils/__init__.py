"""Files and worker processes; nothing of the environments."""
