"""Which plugins there are (files here and in the working folder, entry points), and the digest of their source."""

import ast
import dataclasses
import hashlib
import importlib
import inspect
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import resolve_name
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, get_args

from bench.errors import BenchError, did_you_mean, said
from bench.plugins.fields import parse_settings
from bench.plugins.method import Method, MethodSpec, Promise, Stage, Tunable
from bench.plugins.task import Direction, Metric, Plan, Task
from bench.storage.files import file_digest

Kind = Literal["methods", "tasks"]

#: what of the engine decides the content of a trial, whole packages, as a list of files would forget some; the others
#: keep, start, choose, show and log trials, and ``check`` has a digest of its own
DECIDING = ("errors", "plugins", "widths", "export", "trial")


@dataclass(frozen=True)
class Summary:
    """What ``bench list`` shows of a plugin. Ours are read from their source, without importing them."""

    name: str
    title: str
    camp: str = ""  # of a method: ``in-training``, ``post-hoc`` or ``control``; empty if its source does not say
    promises: str = ""  # of a method: what it makes smaller
    problem: str = ""  # why it cannot be used, in one line


def names(kind: Kind) -> list[str]:
    """The names of all plugins of a kind: this project's, those of the working folder and of installed packages."""
    return sorted({*files(kind), *installed(kind)})


def summaries(kind: Kind) -> list[Summary]:
    """The plugins of a kind, with the first line of each docstring; those of others are loaded, to find mistakes."""
    ours, *theirs = map(_files_in, folders(kind))
    others = {*installed(kind)}.union(*theirs)
    return [_loaded_summary(kind, name) if name in others else _summary(name, ours[name]) for name in names(kind)]


def folders(kind: Kind) -> list[Path]:
    """Where files of plugins are: this project's folder, then ``methods/`` or ``tasks/`` of the working folder.

    Another working folder is chosen by the variable ``BENCH_PLUGINS``, as for the processes of a cluster. Its folder is
    a part of the package, so that its files are imported and named as ours are.
    """
    package = importlib.import_module(kind)
    ours = Path(__file__).parents[2] / kind
    if package.__file__ is None or not Path(package.__file__).parent.samefile(ours):
        raise BenchError(f"{next(iter(package.__path__))} hides this project's own {kind}: remove its __init__.py")
    theirs = Path(os.environ.get("BENCH_PLUGINS") or Path.cwd(), kind).absolute()
    found = [ours, theirs] if theirs.is_dir() and not theirs.samefile(ours) else [ours]
    package.__path__ = [str(folder) for folder in found]
    return found


def files(kind: Kind) -> dict[str, Path]:
    """The files of plugins, by name; where the working folder has one of a name of ours, that of ours."""
    return {name: path for folder in reversed(folders(kind)) for name, path in _files_in(folder).items()}


def _files_in(folder: Path) -> dict[str, Path]:
    paths = list(folder.iterdir())
    found = {path.stem: path for path in paths if path.suffix == ".py" and path.is_file()}
    found |= {path.name: path / "__init__.py" for path in paths if (path / "__init__.py").is_file()}
    return {name: path for name, path in found.items() if not name.startswith(("_", "."))}


@cache
def installed(kind: Kind) -> Mapping[str, EntryPoint]:
    """The plugins of installed packages, by name."""
    return {point.name: point for point in entry_points(group=f"bench.{kind}")}


def _loaded_summary(kind: Kind, name: str) -> Summary:
    path = files(kind).get(name)
    try:
        loaded: Any = load_method(name) if kind == "methods" else load_task(name)
    except BenchError as error:
        return Summary(name, _summary(name, path).title if path else "", problem=str(error))
    title = _summary(name, path).title if path else (loaded.__doc__ or "").split("\n")[0]
    if kind == "tasks":
        return Summary(name, title)
    return Summary(name, title, "control" if loaded.control else loaded.stage.replace("_", "-"), loaded.promises)


def _summary(name: str, path: Path) -> Summary:
    """The first line of the docstring of the plugin's class, and what it assigns."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), path.name)
    except (OSError, SyntaxError, ValueError) as error:
        return Summary(name, f"cannot be read: {error}")
    title, facts = (ast.get_docstring(tree) or "").split("\n")[0], {"stage": "", "promises": "structure"}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            title = (ast.get_docstring(node) or title).split("\n")[0]
            for statement in node.body:
                if isinstance(statement, ast.Assign):
                    facts[ast.unparse(statement.targets[0])] = ast.unparse(statement.value).strip("'\"")
    camp = "control" if facts.get("control") == "True" else facts["stage"].replace("_", "-")
    return Summary(name, title, camp, facts["promises"])


@cache
def load_method(name: str) -> type[Method]:
    """The method of this name, or a ``BenchError`` that says why there is none."""
    return _load("methods", name, Method)


@cache
def load_task(name: str) -> type[Task]:
    """The task of this name, or a ``BenchError`` that says why there is none."""
    return _load("tasks", name, Task)


def load_method_spec(text: str) -> MethodSpec:
    """A method, a chain of methods joined by ``+``, or either with settings: ``feature_noise:form=literal``."""
    chain, _, settings = text.partition(":")
    classes = tuple(load_method(link) for link in chain.split("+"))
    fixed = parse_settings(filter(None, settings.split(",")), where=repr(text), example="window=1")
    return MethodSpec(text, chain, classes, fixed)


def _load(kind: Kind, name: str, base: type[Any]) -> type[Any]:
    known, in_tree = names(kind), name in files(kind)
    if name in known and (name == "all" or not re.fullmatch(r"[\w-]+", name)):
        raise BenchError(f"{kind}/{name}: expected a name of letters, digits, _ and -, and not 'all': rename it")
    if in_tree and name in installed(kind):
        raise BenchError(f"{files(kind)[name]} and an installed package both define {name!r}: rename one of them")
    if len(places := [own[name] for folder in folders(kind) if name in (own := _files_in(folder))]) > 1:
        raise BenchError(f"{places[1]} has the name of a {kind[:-1]} of this project: rename it")
    if name not in known:
        raise BenchError(f"no {kind[:-1]} is called {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
    plugin = f"{kind}/{name}" if in_tree else f"entry point {name!r} of bench.{kind}"
    try:
        loaded = importlib.import_module(f"{kind}.{name}") if in_tree else installed(kind)[name].load()
    except (Exception, SystemExit) as error:  # of somebody else's code
        raise BenchError(f"{plugin} cannot be imported: {said(error)}") from error
    if not in_tree:
        if not (inspect.isclass(loaded) and issubclass(loaded, base)):
            raise BenchError(f"{plugin} is {loaded!r}, expected a {base.__name__} class")
        return _declared(kind, plugin, loaded)
    classes = [c for c in vars(loaded).values() if inspect.isclass(c) and c.__module__ == loaded.__name__]
    found = [c for c in classes if issubclass(c, base)]
    found = [c for c in found if not inspect.isabstract(c)] or found  # what several methods share may stand there, too
    if len(found) != 1:
        expected = f"expected one class that extends {base.__name__}"
        raise BenchError(f"{loaded.__file__}: {expected}, found {', '.join(c.__name__ for c in found) or 'none'}")
    return _declared(kind, plugin, found[0])


def _declared(kind: Kind, plugin: str, loaded: type[Any]) -> type[Any]:
    """The class, unless what it declares makes no sense."""
    if any(isinstance(value, dataclasses.Field) for value in vars(loaded).values()):
        raise BenchError(f"{plugin}: {loaded.__name__} lacks @dataclass(frozen=True) above it, so it has no settings")
    if problem := _method_problem(loaded) if kind == "methods" else _task_problem(loaded):
        raise BenchError(f"{plugin}: {loaded.__name__}: {problem}")
    return loaded


def _method_problem(method: type[Method]) -> str | None:
    """What a class of a plugin declares wrongly, or None."""
    stage = getattr(method, "stage", None)
    if stage not in get_args(Stage):
        return f"stage is {stage!r}, expected 'in_training' or 'post_hoc'{did_you_mean(str(stage), get_args(Stage))}"
    if method.promises not in get_args(Promise):
        known = ", ".join(map(repr, get_args(Promise)))
        return f"promises is {method.promises!r}, expected one of {known}{did_you_mean(str(method.promises), known)}"
    if inspect.isabstract(method):
        return f"it lacks {', '.join(sorted(method.__abstractmethods__))}"
    for field in dataclasses.fields(method):
        if "tune" in field.metadata and (problem := _range_problem(field.metadata["tune"], field.default)):
            return f"the range of {field.name} makes no sense: {problem}"
    try:
        inspect.signature(method.compress).bind("self", "model", "trainer")
    except TypeError:  # no function, or one of other parameters
        return "compress cannot be called as compress(self, model, trainer)"
    return None


def _range_problem(space: Tunable, default: Any) -> str | None:
    low, high = space.low, space.high
    if low is None or high is None:
        choices = space.choices or ()
        if not all(isinstance(choice, (str, int, float)) for choice in choices):
            return f"choices {choices!r}, expected numbers or words, which can be written down"
        return None if default in choices else f"the default {default!r} is none of {choices!r}"
    if not (0 if space.log else -math.inf) < low < high < math.inf:
        return f"from {low!r} to {high!r}, expected low below high{', and above 0 with log=True' * space.log}"
    return None if low <= default <= high else f"the default {default!r} lies outside {low!r} to {high!r}"


def _task_problem(task: type[Task]) -> str | None:
    """What a class of a plugin declares wrongly, or None."""
    metric, presets = getattr(task, "metric", None), getattr(task, "presets", None)
    if not isinstance(metric, Metric) or metric.direction not in get_args(Direction):
        return f"metric is {metric!r}, expected Metric(name, unit, direction='minimize' or 'maximize')"
    if not isinstance(presets, Mapping) or not presets or not all(isinstance(p, Plan) for p in presets.values()):
        return f"presets is {presets!r}, expected a Plan for each name, such as {{'smoke': Plan(...)}}"
    for name, plan in presets.items():
        for count in ("dense_steps", "finetune_steps", "batch_size", "trials", "seeds"):
            if not isinstance(value := getattr(plan, count), int) or value < 1:
                return f"preset {name!r} has {count} {value!r}, expected a whole number from 1"
    return f"it lacks {', '.join(sorted(task.__abstractmethods__))}" if inspect.isabstract(task) else None


@cache
def source_digest(plugins: tuple[Callable[..., object], ...]) -> str:
    """A digest of the source of these classes, of what they share, and of the engine that trains and measures.

    It changes when results may, so that a finished trial is never taken for one of other code. Where the files lie does
    not matter.
    """
    modules = dict(item for name in DECIDING for item in _modules(f"bench.{name}").items())
    for plugin in plugins:
        modules |= _sources(plugin.__module__)
    return _digest(modules)


def model_digest(model: str) -> str:
    """A digest of the source of ``file.py:build`` or ``module:build`` and of what it needs beside it.

    That is what a file imports from its folder, or a module from its package, and the files whose names stand in any of
    them as they are, such as that of a checkpoint.
    """
    place = model.rpartition(":")[0]
    modules = _beside(Path(place)) if place.endswith(".py") else _sources(place)
    return _digest(modules | {text: file for path in modules.values() for text, file in _named_in(path).items()})


def project_digest() -> str:
    """A digest of the whole source of this project, with its own plugins and those of the working folder."""
    modules, kinds = _modules("bench"), get_args(Kind)
    for plugin in (f"{kind}.{name}" for kind in kinds for name in files(kind)):
        modules |= _sources(plugin)
    return _digest({**modules, **_modules("methods"), **_modules("tasks")})


def _digest(modules: Mapping[str, Path]) -> str:
    lines = [f"{name} {file_digest(path)}" for name, path in sorted(modules.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _modules(name: str) -> dict[str, Path]:
    """The file of a module, or those of all modules of a package, by their names."""
    path = _file_of(name)
    if path is None or path.name != "__init__.py":
        return {name: path} if path else {}
    found = (file for file in path.parent.rglob("*.py") if file.is_file())
    parts = {file: file.relative_to(path.parent).with_suffix("").parts for file in found}
    importable = {file: inner for file, inner in parts.items() if all(part.isidentifier() for part in inner)}
    return {".".join([name, *inner]).removesuffix(".__init__"): file for file, inner in importable.items()}


def _file_of(module: str) -> Path | None:
    """The file of a module, found without importing more than its package; None for the name of anything else."""
    top, *rest = module.split(".")
    package = importlib.import_module(top)
    for folder in getattr(package, "__path__", []):
        if path := _module_at(Path(folder, *rest)):
            return path
    return Path(package.__file__) if package.__file__ and not rest else None


def _sources(module: str) -> dict[str, Path]:
    """A module, such as a plugin's, and those of its package that it imports, by name; no other plugin is one."""
    package = module.partition(".")[0]
    return _with_imports(_modules(module), lambda name: _file_of(name) if name.partition(".")[0] == package else None)


def _beside(script: Path) -> dict[str, Path]:
    """A script, and what it imports from the folder that it lies in, by name."""
    return _with_imports({"": script}, lambda name: _module_at(script.parent.joinpath(*name.split("."))))


def _with_imports(waiting: dict[str, Path], find: Callable[[str], Path | None]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    while waiting:
        name, path = waiting.popitem()
        found[name] = path
        waiting |= {imported: file for imported in set(_imports(name, path)) - found.keys() if (file := find(imported))}
    return found


def _named_in(path: Path) -> dict[str, Path]:
    """The files, beside a source file or in the working folder, whose names stand in it as they are."""
    constants = (node.value for node in ast.walk(_parsed(path)) if isinstance(node, ast.Constant))
    texts = {value for value in constants if isinstance(value, str)}
    named = {text: os.path.join(folder, text) for folder in (".", path.parent) for text in texts}
    return {text: Path(file) for text, file in named.items() if os.path.isfile(file)}


def _imports(module: str, path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, with the packages they lie in: ``import a.b`` gives ``a`` and ``a.b``.

    ``from a import b`` may import a module ``a.b``, which is therefore given as well.
    """
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(_parsed(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{origin}.{alias.name}" for alias in node.names]
        for name in names:
            yield from accumulate(name.split("."), "{}.{}".format)


def _module_at(spot: Path) -> Path | None:
    return next((path for path in (spot / "__init__.py", spot.with_suffix(".py")) if path.is_file()), None)


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):  # it cannot be imported, so it imports and names nothing
        return ast.Module([], [])
