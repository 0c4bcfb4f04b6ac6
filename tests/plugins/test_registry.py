"""Plugins by name: what is wrong with one is said by its name."""

import importlib
import os
import shutil
import sys
from importlib.metadata import EntryPoint
from operator import ne
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bench
from bench import BenchError, Metric, Plan, cli
from bench.check import Probe
from bench.plugins import registry
from bench.plugins.method import MethodSpec
from bench.plugins.registry import Summary, load_method, names, source_digest
from bench.runner import command
from tasks.antispoof import Antispoof


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``methods/`` of a working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "methods").mkdir()
    return tmp_path / "methods"


def test_a_file_that_cannot_be_imported_is_named(folder: Path) -> None:
    (folder / "broken_method.py").write_text("import no_such_library\n")
    with pytest.raises(BenchError, match="methods/broken_method cannot be imported: ModuleNotFoundError"):
        load_method("broken_method")


def test_a_file_without_a_method_is_named(folder: Path) -> None:
    (folder / "empty_method.py").write_text("from bench import Method\n")
    with pytest.raises(BenchError, match=r"empty_method.py: expected one class that extends Method, found none"):
        load_method("empty_method")


METHOD = """
from dataclasses import dataclass
from bench import Method, tune
@dataclass(frozen=True)
class Odd(Method):
    stage = "post_hoc"
    {field}
    def compress(self, {parameters}):
        return model
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"post_hoc"', '"post-hoc"', r"stage is 'post-hoc', expected .* \(did you mean 'post_hoc'\?\)"),
        ("stage =", "staged =", "stage is None"),
        ("{field}", "promises = 'less'", "promises is 'less', expected one of 'structure'"),
        ("{parameters}", "network", r"cannot be called as compress\(self, model, trainer\)"),
        ("compress", "squeeze", "it lacks compress"),
        ("def compress(self, {parameters}):\n        return model", "compress = 1", "compress cannot be called"),
        (
            "{field}",
            "x: float = tune(0.5, low=1.0, high=0.1)",
            "range of x .* from 1.0 to 0.1, expected low below high",
        ),
        ("{field}", "x: float = tune(0.5, low=0.0, high=1.0, log=True)", "and above 0 with log=True"),
        ("{field}", "x: float = tune(2.0, low=0.0, high=1.0)", "the default 2.0 lies outside 0.0 to 1.0"),
        ("{field}", "x: object = tune(len, choices=(len, max))", "expected numbers or words"),
        ("{field}", "raise SystemExit(0)", "cannot be imported: SystemExit: 0"),
        ("{field}", "assert False", "cannot be imported: AssertionError"),
        ("{field}", "raise ValueError('a' * 10_000)", "ValueError: aaa.* … .*aaa"),
    ],
)
def test_what_a_method_declares_wrongly_is_said_when_it_is_loaded(
    folder: Path, request: pytest.FixtureRequest, old: str, new: str, said: str
) -> None:
    name = f"odd_{abs(hash(request.node.name))}"  # Python remembers modules by name
    source = METHOD.replace(old, new).replace("{field}", "pass").replace("{parameters}", "model, trainer")
    (folder / f"{name}.py").write_text(source)
    with pytest.raises(BenchError, match=f"methods/{name}.*{said}") as raised:
        load_method(name)
    assert len(str(raised.value)) < 1000


class Whole(Probe):
    """A task as it should be."""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("metric", None, "metric is None, expected Metric"),
        ("metric", Metric("eer", "percent", "lower"), "direction='minimize' or 'maximize'"),
        ("presets", {}, "presets is {}, expected a Plan for each name"),
        ("presets", {"quick": 3}, "expected a Plan for each name"),
        ("presets", {"quick": Plan(2.5, 1, 8, 1e-3)}, "preset 'quick' has dense_steps 2.5"),
        ("__abstractmethods__", frozenset({"loss", "evaluate"}), "it lacks evaluate, loss"),
    ],
)
def test_what_a_task_declares_wrongly_is_said_when_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, said: str
) -> None:
    monkeypatch.setattr(Whole, name, value, raising=False)
    points = {"whole": EntryPoint("whole", f"{__name__}:Whole", "bench.tasks")}
    monkeypatch.setattr(registry, "installed", lambda kind: points)
    with pytest.raises(BenchError, match=said):
        registry.load_task.__wrapped__("whole")


def test_what_is_no_file_is_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe would be waited for when it is read."""
    monkeypatch.chdir(tmp_path)
    folder, before = write(tmp_path / "methods", {"real": '"""Title."""'}), registry.names("methods")
    os.mkfifo(folder / "pipe.py")
    (folder / "folder.py").mkdir()
    assert registry.names("methods") == before
    assert [summary.title for summary in registry.summaries("methods") if summary.name == "real"] == ["Title."]


def test_plugins_of_the_working_folder_are_found_and_are_part_of_what_names_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = METHOD.replace("{field}", "pass").replace("{parameters}", "model, trainer")
    shared = "from methods._of_several import VALUE\n"
    folder = write(tmp_path / "methods", {"of_mine": shared + source, "_of_several": "VALUE = 1", "dense": source})
    without = registry.project_digest()
    monkeypatch.chdir(tmp_path)
    assert {"of_mine", "dense", "feature_noise"} <= set(names("methods"))
    mine = load_method("of_mine")
    before = source_digest.__wrapped__((mine,)), registry.project_digest()
    assert before[1] != without
    (folder / "_of_several.py").write_text("VALUE = 2")
    assert all(map(ne, before, (source_digest.__wrapped__((mine,)), registry.project_digest())))
    with pytest.raises(BenchError, match=r"methods/dense.py has the name of a method of this project: rename it"):
        load_method.__wrapped__("dense")
    monkeypatch.chdir("/")
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path))
    assert "of_mine" in names("methods")


def test_a_package_that_hides_ours_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "methods", {"__init__": "", "mine": ""})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "methods")
    with pytest.raises(BenchError, match=r"methods hides this project's own methods: remove its __init__.py"):
        names("methods")


def test_an_abstract_base_in_the_file_of_a_method_is_none(folder: Path) -> None:
    base = "from abc import abstractmethod\nclass Base(Method):\n    @abstractmethod\n    def idea(self): ...\n"
    whole = "@dataclass(frozen=True)\nclass Whole(Odd, Base):\n    def idea(self): return 1\n"
    source = METHOD.replace("{field}", "pass").replace("{parameters}", "model, trainer")
    source = source.replace("@dataclass", base + "@dataclass", 1).replace("Odd(Method)", "Odd(Base)")
    (folder / "with_a_base.py").write_text(source + whole.replace("Odd, Base", "Odd"))
    assert load_method("with_a_base").__name__ == "Whole"


def test_a_name_that_two_plugins_have_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "twin.py").write_text("")
    monkeypatch.setattr(registry, "installed", lambda kind: {"twin": EntryPoint("twin", "a:B", "bench.methods")})
    with pytest.raises(BenchError, match=r"twin.py and an installed package both define 'twin'"):
        load_method("twin")


@pytest.mark.parametrize(
    ("target", "message"), [("os:getcwd", "expected a Method class"), ("no_such_package:Method", "cannot be imported")]
)
def test_an_entry_point_that_is_no_method_is_named(target: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"theirs": EntryPoint("theirs", target, "bench.methods")}
    monkeypatch.setattr(registry, "installed", lambda kind: points)
    with pytest.raises(BenchError, match=message):
        registry.load_method.__wrapped__("theirs")


def test_listing_reads_title_and_stage_from_the_source() -> None:
    shown = {summary.name: summary for summary in registry.summaries("methods")}
    assert shown["dense"] == Summary(
        "dense", "No compression: the dense model, trained with the whole step budget.", "control", "structure"
    )
    assert (shown["rigl"].camp, shown["rigl"].promises) == ("in-training", "mask")
    assert (shown["quantization"].camp, shown["quantization"].promises) == ("post-hoc", "bits")
    assert not [name for name in shown if name.startswith("_")]


def test_a_broken_file_stops_nobody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "torn_method.py").write_text("def (\n")
    odd = 'from bench import Method\n\nclass Odd(Method):\n    """Odd."""\n    stage = "post" + "_hoc"\n'
    (folder / "odd_method.py").write_text(odd)
    shown = {summary.name: summary for summary in registry.summaries("methods")}
    assert "torn_method cannot be imported: SyntaxError: invalid syntax" in shown["torn_method"].problem
    assert shown["odd_method"].title == "Odd." and "it lacks compress" in shown["odd_method"].problem
    assert shown["dense"].camp == "control" and not shown["dense"].problem
    monkeypatch.undo()
    real = command.load_method_spec

    def loaded(name: str) -> MethodSpec:
        if name == "quantization":
            raise BenchError("methods/quantization cannot be imported: SyntaxError")
        return real(name)

    monkeypatch.setattr(command, "load_method_spec", loaded)
    usable, broken = command._loadable((), Antispoof.presets["full"])
    assert "dense" in usable and "quantization" not in usable
    assert broken == {"quantization": "methods/quantization cannot be imported: SyntaxError"}
    with pytest.raises(BenchError, match="SyntaxError"):  # what was asked for is not left out
        command._loadable(("dense", "quantization"), Antispoof.presets["full"])


LISTED = """
from dataclasses import dataclass
from bench import Method, tune
@dataclass(frozen=True)
class Listed(Method):
    stage = "post" + "_hoc"
    budget: float = tune(0.25, low=0.1, high=1.0)
    def compress(self, model, trainer):
        return model
"""


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("listed_import", "import no_such_library", "No module named 'no_such_library'"),
        ("listed_exit", "raise SystemExit(3)", "SystemExit: 3"),
        ("listed_none", "", "expected one class that extends Method, found none"),
        ("listed_two", LISTED + "class Other(Listed):\n    pass", "found Listed, Other"),
        ("listed_default", LISTED.replace("0.25", "7"), "the default 7 lies outside 0.1 to 1.0"),
        ("listed_stage", LISTED.replace("stage =", "staged ="), "stage is None, expected 'in_training' or 'post_hoc'"),
        ("listed_plain", LISTED.replace("@dataclass(frozen=True)", ""), "lacks @dataclass(frozen=True) above it"),
        ("listed+plus", LISTED, "expected a name of letters, digits, _ and -"),
        ("all", LISTED, "and not 'all': rename it"),
        ("dense", LISTED, "has the name of a method of this project: rename it"),
    ],
)
def test_a_method_that_cannot_be_used_is_listed_with_the_reason(
    folder: Path, name: str, text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "load_method", registry.load_method.__wrapped__)
    (folder / f"{name}.py").write_text(text)
    (folder / "listed_fine.py").write_text(LISTED)
    monkeypatch.setattr(registry, "installed", lambda kind: {"far": EntryPoint("far", "os:getcwd", f"bench.{kind}")})
    monkeypatch.delitem(sys.modules, f"methods.{name}", raising=False)
    done = CliRunner().invoke(cli.app, ["list"])
    usable, _, broken = done.output.partition("cannot be used")
    broken = " ".join(broken.split())
    assert done.exit_code == 0 and "listed_fine" in usable and f"\n{name} " not in usable
    assert reason in broken and "expected a Method class" in broken and "expected a Task class" in broken
    fine = next(summary for summary in registry.summaries("methods") if summary.name == "listed_fine")
    assert (fine.camp, fine.promises) == ("post-hoc", "structure")  # although its source does not spell it


def test_a_preset_leaves_out_what_it_names_and_nothing_that_is_new() -> None:
    quick = Antispoof.presets["quick"]
    usable, _ = command._loadable((), quick)
    assert not {*quick.left_out} & {*usable} and {*quick.also} <= {*usable}
    assert {*names("methods")} - {*quick.left_out} <= {*usable}
    everything, _ = command._loadable(("all",), quick)
    assert {*names("methods"), *quick.also} == {*everything} and {*quick.left_out} <= {*everything}


def test_digest_follows_the_source(folder: Path) -> None:
    text = 'from bench import Method\n\nclass M(Method):\n    """A."""\n    stage = "post_hoc"\n    compress = print\n'
    (folder / "first_method.py").write_text(text)
    (folder / "second_method.py").write_text(text.replace('"""A."""', '"""B."""'))
    first, second = load_method("first_method"), load_method("second_method")
    assert source_digest((first,)) == source_digest((first,)) != source_digest((second,))


def test_digest_follows_what_a_plugin_imports_and_nothing_else() -> None:
    feature_noise = registry._sources(load_method("feature_noise").__module__)
    assert {"methods.feature_noise", "methods._width_noise", "methods._steering"} <= feature_noise.keys()
    assert not feature_noise.keys() & {"methods._broadcast", "methods.stochastic_gates", "methods.dense"}
    assert registry._sources(load_method("dense").__module__).keys() == {"methods.dense"}
    task = registry._sources(registry.load_task("antispoof").__module__)
    assert {"tasks.antispoof.resnet", "tasks.antispoof.attacks.stft", "tasks._speech.tract"} <= task.keys()
    assert "tasks.vad" not in task


IMPORTS = {
    "import theirs.other": {"theirs", "theirs.other"},
    "from theirs import other": {"theirs", "theirs.other"},
    "from theirs.deep.one import VALUE": {"theirs", "theirs.deep", "theirs.deep.one", "theirs.other"},
    "from .deep import one": {"theirs", "theirs.deep", "theirs.deep.one", "theirs.other"},
    "from . import other": {"theirs", "theirs.other"},
    "def later():\n    import theirs.other": {"theirs", "theirs.other"},  # not loaded when the digest is taken
    "import json, torch": set(),
}


@pytest.mark.parametrize(("line", "expected"), IMPORTS.items(), ids=IMPORTS)
def test_digest_follows_imports_of_every_kind(
    line: str, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path / "theirs",
        {"__init__": "", "other": "", "deep/__init__": "", "deep/one": "from .. import other\nVALUE = 1"},
    )
    (tmp_path / "theirs" / "plugin.py").write_text(f"{line}\n\nclass Plugin: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
        monkeypatch.delitem(sys.modules, name)
    plugin = importlib.import_module("theirs.plugin").Plugin
    assert registry._sources(plugin.__module__).keys() == {"theirs.plugin", *expected}


def write(folder: Path, modules: dict[str, str]) -> Path:
    for name, text in modules.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


# --- the engine's part of a digest

ENGINE = Path(bench.__file__).parent


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the engine, whose digest is taken."""
    copy = tmp_path / "elsewhere" / "bench"
    shutil.copytree(ENGINE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(bench, "__path__", [str(copy)])
    return copy


def digest() -> str:
    return source_digest.__wrapped__((load_method("dense"),))


def test_digest_does_not_depend_on_the_place_nor_on_compiled_files(engine: Path) -> None:
    here = digest()
    bench.__path__ = [str(ENGINE)]
    assert digest() == here
    bench.__path__ = [str(engine)]
    write(engine / "trial" / ".checkpoints", {"trainer": "an editor's"})
    (engine / "trial" / "__pycache__").mkdir()
    (engine / "trial" / "__pycache__" / "trainer.cpython-311.pyc").write_bytes(b"compiled")
    assert digest() == here


def test_digest_follows_every_file_that_decides_results_and_no_other(engine: Path) -> None:
    """The key of a trial once left out two files of the engine, as they had to be listed one by one."""
    before, changing = digest(), set()
    files = sorted(engine.rglob("*.py"))
    for path in files:
        text = path.read_text()
        path.write_text(text + "# changed\n")
        changing |= {path} if digest() != before else set()
        path.write_text(text)
    packages = ("plugins", "widths", "export", "trial")
    assert changing == {p for p in files if p.relative_to(engine).parts[0] in (*packages, "errors.py")}
    assert {engine / "plugins" / "metrics.py", engine / "plugins" / "task.py"} <= changing


def test_digest_follows_files_that_come_move_and_go(engine: Path) -> None:
    digests = [digest()]
    write(engine / "widths", {"further/__init__": "", "further/idea": "VALUE = 1"})
    digests.append(digest())
    (engine / "widths" / "further" / "idea.py").rename(engine / "trial" / "idea.py")
    digests.append(digest())
    (engine / "trial" / "idea.py").unlink()
    digests.append(digest())
    assert len(set(digests)) == 4


def test_what_a_trial_imports_is_in_its_digest_or_decides_nothing() -> None:
    """Whoever lets a deciding package import another one has to say here that that one does not decide results."""
    decided = {name for part in registry.DECIDING for name in registry._modules(f"bench.{part}")}
    found = {
        imported
        for name in decided
        for imported in registry._imports(name, registry._modules("bench")[name])
        if imported.partition(".")[0] == "bench" and registry._file_of(imported) and imported not in decided
    }
    storage = {f"bench.storage{part}" for part in ("", ".cache", ".files", ".provenance")}
    assert found == {"bench", *storage}


def test_the_digest_of_the_project_has_all_of_it(engine: Path) -> None:
    before = registry.project_digest()
    path = engine / "report" / "__init__.py"
    path.write_text(path.read_text() + "# changed\n")
    assert registry.project_digest() != before
