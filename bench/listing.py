"""Which plugins there are: in-tree by file name, installed packages by entry point. Nothing of them is imported."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Kind = Literal["methods", "tasks"]


@dataclass(frozen=True)
class Summary:
    """What ``bench list`` shows of a plugin, read from its source without importing it."""

    name: str
    title: str
    stage: str


def names(kind: Kind) -> list[str]:
    """The names of all plugins of a kind: those of this project and those of installed packages."""
    return sorted({*files(kind), *installed(kind)})


def summaries(kind: Kind) -> list[Summary]:
    """Names with the first line of each docstring."""
    in_tree = files(kind)
    return [
        _summary(name, in_tree[name]) if name in in_tree else Summary(name, installed(kind)[name].value, "")
        for name in names(kind)
    ]


def files(kind: Kind) -> dict[str, Path]:
    """The files of this project's own plugins, by name."""
    spec = find_spec(kind)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    found = {}
    for folder in folders:
        for path in folder.iterdir():
            if path.name.startswith(("_", ".")):
                continue
            if path.suffix == ".py":
                found[path.stem] = path
            elif (path / "__init__.py").is_file():
                found[path.name] = path / "__init__.py"
    return found


def installed(kind: Kind) -> Mapping[str, EntryPoint]:
    """The plugins of installed packages, by name."""
    return {point.name: point for point in entry_points(group=f"bench.{kind}")}


def _summary(name: str, path: Path) -> Summary:
    """The first line of the docstring and the stage of the plugin's class, which is the one with a ``stage`` if any."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), path.name)
    except (OSError, SyntaxError, ValueError) as error:
        return Summary(name, f"cannot be read: {error}", "")
    title, stage = (ast.get_docstring(tree) or "").split("\n")[0], ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            title = (ast.get_docstring(node) or title).split("\n")[0]
            for statement in node.body:
                if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "stage":
                    stage = ast.unparse(statement.value).strip("'\"")
    return Summary(name, title, stage)
