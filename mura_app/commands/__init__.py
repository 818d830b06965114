"""One file a subcommand: a dataclass whose fields are its options and whose `run` does it.

A command imports what trains and draws when it runs, so that `--help` and a wrong option answer at once.
"""
