"""Files, options, plug-ins and worker processes; nothing of the environments."""
