"""What holds for every file of the project, whatever it does."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
FOLDERS = ("src", "templates", "tests", "bench", "docs", "requirements", ".ci")

POSTPONED_ANNOTATIONS = re.compile(r"^from __future__ import .*\bannotations\b", re.MULTILINE)
INDEX_ADDRESS = re.compile(r"--(?:extra-)?index[-]url|--find[-]links|\bpypi[.]org|pythonhosted[.]org", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.-])/(?:work|root|home/\w+|Users/\w+)/")


def test_imports_go_downwards_and_the_inner_layers_know_no_technology():
    check = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_annotations_can_be_read_at_run_time(module: Path):
    """msgspec, Litestar and the event mapper read them; as strings whose names are never imported they cannot."""
    source = module.read_text(encoding="utf-8")
    assert not (POSTPONED_ANNOTATIONS.search(source) and "TYPE_CHECKING" in source)


@pytest.mark.parametrize("pattern", [INDEX_ADDRESS, MACHINE_PATH], ids=["package index", "path of one machine"])
def test_no_file_says_where_it_was_made(pattern: re.Pattern[str]):
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in _files()
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found


def _files() -> Iterator[Path]:
    """What is in the repository; a .env is the owner's own, .git a file in a worktree; caches are in dot folders."""
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name not in (".env", ".git"))
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc" and not _in_dot_folder(path.relative_to(ROOT / folder)):
                yield path


def _in_dot_folder(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts[:-1])
