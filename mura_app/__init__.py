"""The application: the command `mura`, the whole pipeline, its run directory and its report."""

__version__ = "0.1.0"
