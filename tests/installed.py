"""Methods of a test module, known to the command as those of an installed package."""

import os
from pathlib import Path
from types import ModuleType

from bench import Method


def installed(module: ModuleType, folder: Path) -> dict[str, str]:
    """Install the methods of a module into a folder; the environment of processes that are to know them."""
    found = [member for member in vars(module).values() if isinstance(member, type) and issubclass(member, Method)]
    names = [f"{_snake(m.__name__)} = {module.__name__}:{m.__name__}" for m in found if m.__module__ == module.__name__]
    package = module.__name__.rpartition(".")[2]
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "entry_points.txt").write_text("\n".join(["[bench.methods]", *names]) + "\n")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[1])])}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("_")
