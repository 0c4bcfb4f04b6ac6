"""The rules of the tree, read from the imports."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: inside bench a file imports only what stands before it here
LAYERS = (
    *("errors", "suggest", "files", "supervisor", "cache", "inventory", "metrics", "task", "items", "method"),
    *("measure", "widths", "watch", "ledger", "train", "listing", "registry", "dense", "seal", "rebuild", "trial"),
    *("audit", "probe", "conformance", "following", "worker", "executor", "local_executor", "cluster", "ray_executor"),
    *("points", "jobs", "timing", "provenance", "screen", "search", "selection", "runs", "tracking", "pareto", "statistics"),
    *("report", "compare", "request", "reach", "index", "pace", "comparison", "run", "ui", "cli", "__main__"),
)
#: what a plugin may import of the engine: what bench/__init__.py exports, and the metrics
FOR_PLUGINS = ("bench", "bench.metrics")


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


def layer(path: Path) -> str:
    return path.relative_to(ROOT / "bench").parts[0].removesuffix(".py")


ENGINE = [p for p in sorted((ROOT / "bench").rglob("*.py")) if p != ROOT / "bench" / "__init__.py"]
PLUGINS = sorted([*(ROOT / "methods").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")])


@pytest.mark.parametrize("path", ENGINE, ids=lambda p: str(p.relative_to(ROOT)))
def test_engine_imports_only_what_lies_below(path: Path) -> None:
    own = LAYERS.index(layer(path))
    for module in imports(path, typing_too=False):
        top, _, rest = module.partition(".")
        assert top not in ("methods", "tasks"), f"{path} imports a plugin; plugins are reached through the registry"
        if top == "bench" and rest:
            assert LAYERS.index(rest.split(".")[0]) <= own, f"{path} imports {module}, which lies above it"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda p: str(p.relative_to(ROOT)))
def test_plugins_import_only_what_is_exported(path: Path) -> None:
    kind = path.relative_to(ROOT).parts[0]
    for module in imports(path):
        if module.split(".")[0] == "bench":
            assert module in FOR_PLUGINS, f"{path} imports {module}; plugins import from `bench` alone"
        if module.split(".")[0] in ("methods", "tasks"):
            assert module.split(".")[0] == kind
            if kind == "methods":
                assert module.startswith("methods._"), f"{path} imports another method; share code in methods/_*.py"


@pytest.mark.parametrize(("library", "home"), [("mlflow", "tracking"), ("optuna", "search")])
def test_one_file_knows_the_library(library: str, home: str) -> None:
    users = {layer(p) for p in ENGINE if any(m.split(".")[0] == library for m in imports(p))}
    assert users == {home}


def test_layers_are_all_there_and_no_more() -> None:
    assert {layer(path) for path in ENGINE} == set(LAYERS)


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
