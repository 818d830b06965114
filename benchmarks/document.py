"""What the speed scripts print: a table to read or, with `--json`, the same numbers as one JSON document."""

import argparse
import json
import os
import platform
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]


def machine(**libraries: str) -> Document:
    """Return what the numbers were measured on, with the versions of the libraries that matter."""
    return {"processor": platform.machine(), "cores": os.cpu_count(), **libraries}


def document_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the command line with `--json`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    return parser


def print_document(document: Document, show: Callable[[Document], None], as_json: bool) -> None:
    """Print a document as JSON, or as the table that `show` makes of it."""
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        show(document)
