"""A check of a data set as one page with images, which needs no network."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mura_app.data_check.sentences import (
    TITLES,
    image_sentences,
    item_sentence,
    items_to_show,
    missing_pairs,
    pair_counts,
    shortcut_rows,
)
from mura_app.report.html_page import render_html, resource
from mura_app.report.thumbnails import thumbnail
from mura_env.errors import UserFileError, UserFileExistsError
from mura_env.utils.files import other_than_file, write_text

SHOWN = 60
"""Items of each list that the page shows."""
THUMBNAIL = 144
"""Side of an image in pixels."""


def check_page_path(path: Path, *, overwrite: bool) -> None:
    """Refuse what a page cannot be written to, before minutes of reading."""
    if path.exists():
        if other := other_than_file(path):
            raise UserFileExistsError(f"expected a file to write, got {other} {path}: name a file")
        if not overwrite:
            raise UserFileExistsError(f"{path} already exists; choose another --html, or add --overwrite")
        is_page = path.read_bytes().lstrip().lower().startswith(b"<!doctype html")
        if not is_page:  # it may be the table of the data set
            raise UserFileExistsError(f"expected a page to replace, got {path}: choose another --html")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserFileError(
            f"expected a folder to write {path} into, may not write to {above}: choose another --html"
        )


def write_audit_page(path: Path, document: Mapping[str, Any]) -> None:
    """Write the page of a document of `base_models.audit.audit_dataset` atomically; make missing folders."""
    write_text(path, render_audit_page(document))


def render_audit_page(document: Mapping[str, Any]) -> str:
    """Return the page as text."""
    root = Path(document["dataset"]["root"])
    sections = [
        {
            "name": name,
            "title": title,
            "count": len(document["problems"][name]),
            "danger": pair_counts(document["problems"], name),
            "shortened": len(items) > SHOWN,
            "items": [
                {"sentence": item_sentence(item), "images": _images(root, item)} for item in items[:SHOWN]
            ],
        }
        for name, title in TITLES.items()
        for items in [items_to_show(document["problems"], name)]
    ]
    return render_html(
        resource("mura_app.data_check", "page.jinja"),
        style=resource("mura_app.report", "page.css") + resource("mura_app.data_check", "page.css"),
        document=document,
        sections=sections,
        nothing_of=[
            f"{title[0].lower()}{title[1:]}"
            for name, title in TITLES.items()
            if not document["problems"][name]
        ],
        missing_pairs=missing_pairs(document),
        sentences=image_sentences(document),
        examples=[
            {"title": f"{example['body_part']}, {example['label']}", "image": image}
            for example in document["examples"]
            for image in _images(root, example["path"])
        ],
        shown=SHOWN,
        shortcuts=shortcut_rows(document["shortcuts"]),
    )


def _images(root: Path, item: Any) -> list[dict[str, str]]:
    """Return the images that an item names, as `data:` addresses; none for files that cannot be read."""
    names = [item] if isinstance(item, str) else item.get("paths", [])
    drawn = ((name, thumbnail(root / name, THUMBNAIL)) for name in names)
    return [{"name": name, "data": address} for name, address in drawn if address is not None]
