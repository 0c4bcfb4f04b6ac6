"""The rules of the tree, read from the imports."""

import ast
import doctest
import importlib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: a floor of bench is a package or a loose file; each imports only from its own floor and those before it
FLOORS = (
    *("errors", "terminal", "storage", "plugins", "widths", "export", "trial", "check", "testing", "authoring"),
    *("execution", "results", "stats", "tracking", "report", "ship", "compare", "runner", "doctor", "cli", "__main__"),
)


def imports(path: Path, *, typing_too: bool = True) -> set[str]:
    """The modules that a file imports, wherever in the file; those for type checking only if asked."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not typing_too:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def floor(path: Path) -> str:
    return path.relative_to(ROOT / "bench").parts[0].removesuffix(".py")


TEMPLATES = sorted((ROOT / "bench" / "authoring").glob("own_*.py"))  # of plugins
ENGINE = [p for p in sorted((ROOT / "bench").rglob("*.py")) if p not in (ROOT / "bench" / "__init__.py", *TEMPLATES)]
PLUGINS = sorted([*(ROOT / "methods").rglob("*.py"), *(ROOT / "tasks").rglob("*.py"), *TEMPLATES])


def test_the_engine_imports_only_what_lies_below() -> None:
    assert {floor(path) for path in ENGINE} == set(FLOORS)
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in ENGINE
        for module in imports(path, typing_too=False)
        if module.split(".")[0] in ("methods", "tasks")  # plugins are reached through the registry
        or (module.startswith("bench.") and FLOORS.index(module.split(".")[1]) > FLOORS.index(floor(path)))
    ]
    assert not wrong


def test_plugins_import_only_what_is_exported() -> None:
    wrong = []
    for path in PLUGINS:
        kind = path.relative_to(ROOT).parts[0]
        shared = {"methods": ("methods._",), "tasks": ("tasks.",)}.get(kind, ())  # what a template writes has none
        for module in imports(path):
            top = module.split(".")[0]
            if (top == "bench" and module != "bench") or (
                top in ("methods", "tasks") and not module.startswith(shared)
            ):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong


@pytest.mark.parametrize(("library", "home"), [("mlflow", "tracking"), ("optuna", "runner")])
def test_one_package_knows_the_library(library: str, home: str) -> None:
    users = {floor(p) for p in ENGINE if any(m.split(".")[0] == library for m in imports(p))}
    assert users == {home}


def test_the_examples_of_the_docstrings_are_right() -> None:
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in ENGINE]
    modules = [name for name in modules if not name.endswith((".following", "__main__"))]  # which act when imported
    failed = {name: doctest.testmod(importlib.import_module(name)).failed for name in modules}
    assert not {name: count for name, count in failed.items() if count}


def test_no_file_is_too_long_and_few_lie_loose() -> None:
    long = {str(path): count for path in ENGINE if (count := len(path.read_text().splitlines())) > 350}
    assert not long
    loose = {path.name for path in (ROOT / "bench").glob("*.py")} - {"__init__.py", "__main__.py"}
    assert len(loose) <= 5


def test_a_method_is_short() -> None:
    """A file of 40 lines is what a new method takes: the smallest of ours show it."""
    lengths = {p.stem: len(p.read_text().splitlines()) for p in (ROOT / "methods").glob("[a-z]*.py")}
    assert min(lengths.values()) <= 40 and lengths["magnitude_pruning"] <= 40


def test_nothing_points_outside_the_project() -> None:
    texts = [
        *ENGINE,
        *PLUGINS,
        ROOT / "README.md",
        ROOT / "Makefile",
        ROOT / "pyproject.toml",
        ROOT / "CONTRIBUTING.md",
    ]
    for path in texts:
        assert "../" + "shared" not in path.read_text(encoding="utf-8"), path


def test_lock_names_no_registry() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock and "--index" not in lock
    pinned = [line.split("==")[0] for line in lock.splitlines() if "==" in line]
    assert all(a <= b for a, b in pairwise(name.lower() for name in pinned))
