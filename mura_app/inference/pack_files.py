"""The files of a packed folder: read only as they were written."""

import hashlib
import json
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST, EISDIR, ENAMETOOLONG, ENOTDIR
from lzma import LZMAError
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from mura_app.inference.facts import FORMAT_VERSION, PACKED
from mura_app.schema import EnsembleFacts, Pack, check_document
from mura_env.errors import UserError, UserFileError
from mura_env.utils.files import read_json, regular_file


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(regular_file(path, "a file of a packed folder").read_bytes()).hexdigest()


def facts_of_pack(folder: Path, agent: str | None) -> EnsembleFacts:
    """Read `pack.json` of a packed folder, and make sure that its files are those that were packed.

    Raises:
        FileNotFoundError: If a file is missing.
        UserError: If the folder is of another version, a file is damaged, or another agent is asked for.
    """
    path = folder / PACKED
    document = read_json(path, "a packed folder")
    if document.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"expected a packed folder of format {FORMAT_VERSION} in {folder}, got format "
            f"{document.get('format_version')!r}; use the release that packed it"
        )
    check_document(document, path, Pack, "a packed folder of this version", "pack the run again")
    pack = Pack.model_validate_json(json.dumps(document))
    for name, expected in pack.sha256.items():
        if digest(folder / name) != expected:
            raise UserError(
                f"expected {folder / name} as it was packed, got another content; copy the folder again"
            )
    if agent not in {None, pack.ensemble.agent}:
        raise UserError(
            f"expected the agent that was packed, {pack.ensemble.agent!r}, got {agent!r}; leave it out, or "
            "pack the run with it"
        )
    return pack.ensemble


@contextmanager
def extracted(archive: Path) -> Iterator[Path]:
    """Give what is in an archive of `mura pack` as a folder, for as long as the context lasts.

    Raises:
        UserError: If it is none, is damaged, or would become far larger than such an archive does; errors
            about files of the folder name the archive.
    """
    with tempfile.TemporaryDirectory() as folder:
        _extract(archive, Path(folder))
        try:
            yield Path(folder)
        except (UserError, UserFileError) as error:  # the folder that they name is gone by now
            raise UserError(str(error).replace(folder, str(archive))) from error


def _extract(archive: Path, folder: Path) -> None:
    """Unpack an archive; zipfile keeps members below the folder."""
    expected = f"expected an archive that `mura pack` made, got {archive}"
    try:
        with ZipFile(archive) as file:
            names = file.namelist()
            if PACKED not in names:
                lower = next((name for name in names if name.endswith(f"/{PACKED}")), None)
                found = "no pack.json in it" if lower is None else f"{lower} in a folder; zip what is in it"
                raise UserError(f"{expected} with {found}")
            if (size := sum(member.file_size for member in file.infolist())) > _most_bytes(archive):
                raise UserError(f"{expected}, whose files would take {size:,} bytes; pack the run again")
            file.extractall(folder)
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, LZMAError) as error:
        raise UserError(f"{expected}: {error}; copy it again") from error
    except OSError as error:
        if error.errno not in {ENOTDIR, EISDIR, ENAMETOOLONG, EEXIST}:  # else it is the disk's
            raise
        raise UserError(f"{expected} with names that no folder can have; copy it again") from error


def _most_bytes(archive: Path) -> int:
    """Return what an archive may become: weights hardly shrink."""
    return 100 * archive.stat().st_size + 10**6
