"""Plugins to begin with: files that run as they are, and that their author changes."""

import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from bench.errors import BenchError
from bench.plugins.registry import Kind, names

#: what the template of each kind has where the name goes: in the code, and of its class
TEMPLATES = {"methods": ("own_method", "OwnMethod"), "tasks": ("own_task", "OwnTask")}

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "0.1.0"
dependencies = ["compression-bench"]

[project.entry-points."bench.{kind}"]
{name} = "{name}:{cls}"

[tool.hatch.build.targets.wheel]
only-include = ["{name}.py"]
"""

TEST = '''\
"""Run by pytest: the same as `bench check {name}`."""

from bench.testing import check_{one}


def test_{name}_holds_to_the_contract() -> None:
    check_{one}("{name}")
'''


def new_plugin(kind: Kind, name: str, package: bool) -> list[Path]:
    """Write a plugin that runs as it is, into ``methods/`` or ``tasks/`` of the working folder, and return its files.

    Args:
        kind: of plugin.
        name: that it will be called by.
        package: write a package with an entry point and a test instead, into a folder of this name.

    Raises:
        BenchError: the name cannot be one or is taken, or a file is there already.
    """
    _require_name(kind, name, package)
    template, template_class = TEMPLATES[kind]
    source = Path(__file__).with_name(f"{template}.py").read_text(encoding="utf-8")
    cls = "".join(part.capitalize() for part in name.split("_"))
    if re.search(rf"\b{cls}\b", source):  # such as Batch, which it imports
        cls += kind[:-1].capitalize()
    source = source.replace(template_class, cls).replace(template, name)
    if package:
        source = source.replace(f", found by its name in the folder ``{kind}/``", "; pyproject.toml gives it its name")
        known = {"kind": kind, "one": kind[:-1], "name": name, "cls": cls, "distribution": name.replace("_", "-")}
        texts = {f"{name}.py": source, "pyproject.toml": PYPROJECT.format(**known)}
        texts[f"test_{name}.py"] = TEST.format(**known)
        files = {Path(name, file): text for file, text in texts.items()}
    else:
        files = {Path(kind, f"{name}.py"): source}
    if there := [path for path in files if path.exists()]:
        raise BenchError(f"{there[0]} is there already: choose another name, or remove it")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def _require_name(kind: Kind, name: str, package: bool) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise BenchError(f"{name!r} cannot be a name: expected a to z, 0 to 9 and _, a letter first, no word of Python")
    if name == "all":
        raise BenchError("'all' stands for every method in --methods: choose another name")
    other: Kind = "tasks" if kind == "methods" else "methods"
    for taken in (kind, other):  # `bench check NAME` takes either
        if name in names(taken):
            raise BenchError(f"a {taken[:-1]} is called {name!r} already: choose another name")
    if package and find_spec(name):
        raise BenchError(f"a module is called {name!r} already, and a package would hide it: choose another name")
