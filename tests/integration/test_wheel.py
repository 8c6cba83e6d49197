"""What is installed is all that is needed, and it is made from no more than the image has."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Made beside the checkout, of what `.dockerignore` lets through."""
    place = tmp_path_factory.mktemp("wheel")
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in [line[1:] for line in lines if line.startswith("!")]:
        source, copy = ROOT / name, place / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "built"]
    done = subprocess.run(build, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = (place / "built").iterdir()
    with zipfile.ZipFile(file) as opened:
        yield opened


@pytest.mark.parametrize(
    ("folder", "installed"),
    [("src/entrypoints", "entrypoints"), ("src/adapters", "adapters"), ("templates", "carillon/_templates")],
)
def test_every_file_is_in_the_wheel(wheel: zipfile.ZipFile, folder: str, installed: str):
    files = [file for file in (ROOT / folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert {f"{installed}/{file.relative_to(ROOT / folder).as_posix()}" for file in files} <= set(wheel.namelist())


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile):
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    assert "# Carillon" in wheel.read(metadata).decode()
