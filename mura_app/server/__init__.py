"""A trained run behind HTTP: one process, one thread that predicts, one page; it keeps nothing it is sent."""
