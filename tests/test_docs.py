"""What README and documentation tell a reader to type works: Python runs, and commands have these options."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from mura_app.main import COMMANDS, _parse_subcommand
from mura_app.own_files import without_imports

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = ("command-line.md", "_build", "tutorials")
PAGES = [page for page in PAGES if not any(name in str(page.relative_to(ROOT)) for name in GENERATED)]


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def _commands() -> list[tuple[str, str]]:
    """Return each `mura` command of a shell block, with its page."""
    found = []
    for page in PAGES:
        for block in _blocks(page, "sh"):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(page.name, line) for line in lines if re.match(r"(\.venv/bin/)?mura ", line)]
    return found


@pytest.mark.parametrize(
    "page", [page for page in PAGES if _blocks(page, "python")], ids=lambda page: page.name
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "docs"}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in _blocks(page, "python"):
            exec(compile(block, str(page), "exec"), names)  # noqa: S102 - our own pages


@pytest.mark.parametrize(("page", "line"), _commands())
def test_the_commands_of_a_page_can_be_parsed(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words, _ = without_imports(shlex.split(line, comments=True)[1:])
    assert words[0] in COMMANDS, page
    if any(word.endswith("config.json") for word in words):
        words = [word for word in words if word != "--config" and not word.endswith("config.json")]
    _parse_subcommand(words[0], words[1:])


def test_links_between_files_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_option_of_the_environment_is_in_its_table() -> None:
    from mura_env.weighting_task import TaskOptions

    table = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    for option in TaskOptions.__annotations__:
        assert f"| `{option}` |" in table


def test_the_map_of_files_names_every_file() -> None:
    """A newcomer finds every file in `CONTRIBUTING.md`, in its room, and no room that is gone."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = re.findall(r"^```\n(mura_env/.*?)^```", text, re.DOTALL | re.MULTILINE)[0].splitlines()
    named: dict[str, set[str]] = {}
    rooms: list[str] = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        rooms = rooms[: indent // 2]  # a line that goes on with the one before is indented deeper
        if room := re.match(r" *(\w+)/(?=\s|$)", line):
            rooms.append(room[1])
        named.setdefault("/".join(rooms), set()).update(re.findall(r"[A-Za-z_][\w]*", line))
    packages = ("mura_env", "base_models", "agents", "mura_app")
    files = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    for path in files:
        folder, name = path.parent.relative_to(ROOT).as_posix(), path.stem
        if not name.startswith("__") and folder != "mura_app/commands":
            assert name in named.get(folder, set()), f"{folder}/{name} is not in CONTRIBUTING.md"
    assert set(named) - {"", "docs"} <= {path.parent.relative_to(ROOT).as_posix() for path in files}
