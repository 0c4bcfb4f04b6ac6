"""Which plugins there are (files here, entry points of installed packages), and the digest of their source."""

import ast
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from bench.errors import BenchError, did_you_mean
from bench.plugins.method import Method, MethodSpec
from bench.plugins.task import Task

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


#: packages of the engine that decide what a trial gives, taken whole: a list kept by hand forgets files
DECIDING = ("plugins", "widths", "export", "trial")

RELATIVE = "."


@cache
def load_method(name: str) -> type[Method]:
    """The method of this name."""
    return _load("methods", name, Method)


@cache
def load_task(name: str) -> type[Task]:
    """The task of this name."""
    return _load("tasks", name, Task)


def load_method_spec(text: str) -> MethodSpec:
    """A method, a chain of methods joined by ``+``, or either with settings: ``feature_noise:form=literal``."""
    chain, _, settings = text.partition(":")
    classes = tuple(load_method(link) for link in chain.split("+"))
    fixed = {}
    for setting in filter(None, settings.split(",")):
        name, equals, value = setting.partition("=")
        if not equals:
            raise BenchError(f"{text!r}: {setting!r} is no setting; expected name=value, as in feature_noise:window=1")
        fixed[name] = _value(value)
    return MethodSpec(text, chain, classes, fixed)


@cache
def source_digest(plugins: tuple[type, ...]) -> str:
    """A digest of the source of these plugins, of what they share, and of the engine that trains and measures.

    It changes when results may, so that a finished trial is never taken for one of other code.
    """
    digest = hashlib.sha256()
    engine = [path for name in DECIDING for path in Path(__file__).parents[1].glob(f"{name}/*.py")]
    for path in sorted({*engine, *(p for plugin in plugins for p in _sources(plugin))}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def engine_digest() -> str:
    """A digest of the engine's own source, as far as it decides what a training run gives."""
    return source_digest(())


def _sources(plugin: type) -> set[Path]:
    """The files of a plugin, and whatever of its package they import: another method's file is none of them."""
    own = Path(inspect.getfile(plugin))
    found: set[Path] = set()
    waiting = list(own.parent.rglob("*.py")) if own.name == "__init__.py" else [own]
    package = plugin.__module__.partition(".")[0]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            for name in _imports(path):
                near = path.parent.glob("*.py") if name == RELATIVE else []
                waiting += [*near, *(_files(name) if name.startswith(f"{package}.") else [])]
    return found


def _imports(path: Path) -> Iterator[str]:
    """The full names of modules that a file imports, or may: ``from a import b`` names ``a`` and ``a.b``.

    A relative import is somewhere near, which is all that is said of it.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield RELATIVE
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(module: str) -> list[Path]:
    """The file of a module, with those of the packages that it lies in; none if there is no such module."""
    parts = module.split(".")
    spots = [".".join(parts[: i + 1]) for i in range(len(parts))]
    loaded = [sys.modules[spot] for spot in spots if spot in sys.modules]
    return [Path(m.__file__) for m in loaded if m.__file__]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _load(kind: Kind, name: str, base: type[Any]) -> type[Any]:
    if name in files(kind):
        module = _imported(f"{kind}/{name}", lambda: importlib.import_module(f"{kind}.{name}"))
        found = [
            member
            for member in vars(module).values()
            if inspect.isclass(member) and issubclass(member, base) and member.__module__ == module.__name__
        ]
        if len(found) != 1:
            raise BenchError(
                f"{module.__file__}: expected one class that extends {base.__name__}, "
                f"found {', '.join(c.__name__ for c in found) or 'none'}"
            )
        return found[0]
    if name in installed(kind):
        loaded = _imported(f"entry point {name!r} of bench.{kind}", installed(kind)[name].load)
        if not (inspect.isclass(loaded) and issubclass(loaded, base)):
            raise BenchError(f"entry point {name!r} of bench.{kind} is {loaded!r}, expected a {base.__name__} class")
        return loaded
    known = names(kind)
    raise BenchError(f"no {kind[:-1]} is called {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")


def _imported(plugin: str, load: Callable[[], Any]) -> Any:
    """The plugin, or an error that names it: somebody else's code may fail in any way while it is imported."""
    try:
        return load()
    except Exception as error:
        raise BenchError(f"{plugin} cannot be imported: {type(error).__name__}: {error}") from error
