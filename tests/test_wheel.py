"""The wheel, where nothing else is: an empty environment without extras, and an empty folder."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
EXTRAS = ("ray", "psycopg", "timm", "transformers", "pytest")


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> Iterator[str]:
    """The names of all distributions that one needs, itself included."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    yield name
    for need in map(Requirement, distribution(name).requires or []):
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            try:
                distribution(need.name)
            except PackageNotFoundError:
                continue  # what a marker of another system asks for
            yield from needed(need.name, frozenset(need.extras), seen)


def empty_environment(folder: Path) -> Path:
    """An environment that sees what this package needs, of the one that runs the tests, and nothing more."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    there = Path(sysconfig.get_paths()["purelib"])
    requirements = (Requirement(text) for text in distribution("compression-bench").requires or [])
    seen: set[tuple[str, frozenset[str]]] = set()
    for need in requirements:
        if need.marker is None:
            for name in needed(need.name, frozenset(need.extras), seen):
                for top in {file.parts[0] for file in distribution(name).files or []} - {"..", "__pycache__"}:
                    if not (site / top).exists():
                        (site / top).symlink_to(there / top)
    return folder / "bin"


@pytest.mark.slow
def test_a_wheel_without_extras_compares_in_an_empty_folder(tmp_path: Path) -> None:
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "wheel", ROOT], check=True)
    programs, (wheel,) = empty_environment(tmp_path / "env"), (tmp_path / "wheel").glob("*.whl")
    install = [*uv, "pip", "install", "--quiet", "--no-deps", "--offline", "--python", programs / "python", wheel]
    subprocess.run(install, check=True)
    folder = tmp_path / "work"
    folder.mkdir()

    def run(program: str, *arguments: str) -> str:
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment = {**clean, "PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            [programs / program, *arguments], cwd=folder, env=environment, text=True, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    look = f"import importlib.util as u, bench; print(bench.__file__, [n for n in {EXTRAS} if u.find_spec(n)])"
    place, found = run("python", "-c", look).split(" ", 1)
    assert place.startswith(str(tmp_path / "env")) and found == "[]\n"
    assert run("bench", "--version") == f"compression-bench {wheel.name.split('-')[1]}\n"
    run("bench", "new-method", "of_mine")
    assert "Traceback" not in run("bench", "run", "synthetic", "--preset", "smoke")
    table = (folder / "results" / "synthetic" / "smoke" / "points.csv").read_text()
    assert {"feature_noise", "magnitude_pruning", "of_mine"} <= {line.split(",")[2] for line in table.splitlines()}
