"""Pages that stand alone: values are escaped where they are put in; no script runs but the page's own."""

import base64
import hashlib
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup


def render_html(template: str, *, style: str, script: str = "", **values: Any) -> str:
    """Fill a template of an HTML page.

    Args:
        template: The template; it puts `policy`, `style` and `script` into its head and foot.
        style: Style sheet of the page.
        script: The page's own script.
        **values: What else the template names. Only `Markup` is put in as it is.
    """
    # Style attributes, which bars and drawings have, can fetch nothing: only images in the page itself load.
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"style-src-elem {_hash(style)}; script-src {_hash(script)}"
    )
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    own = {"style": Markup(style), "script": Markup(script)}  # noqa: S704 - the project's own files
    return environment.from_string(template).render(policy=policy, **own, **values)


def resource(package: str, name: str) -> str:
    """Return the text of a file of a package."""
    return (resources.files(package) / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """Return what a Content-Security-Policy calls an element with this content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
