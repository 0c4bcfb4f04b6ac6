"""Plugins by name: what is wrong with one is said by its name."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench import BenchError
from bench.plugins import registry
from bench.plugins.method import MethodSpec
from bench.plugins.registry import Summary, load_method, source_digest
from bench.runner import command as run

REAL_FILES = registry.files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files are found beside the project's own methods."""
    import methods

    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "files", lambda kind: {path.stem: path for path in tmp_path.glob("*.py")})
    return tmp_path


def test_a_file_that_cannot_be_imported_is_named(folder: Path) -> None:
    (folder / "broken_method.py").write_text("import no_such_library\n")
    with pytest.raises(BenchError, match="methods/broken_method cannot be imported: ModuleNotFoundError"):
        load_method("broken_method")


def test_a_file_without_a_method_is_named(folder: Path) -> None:
    (folder / "empty_method.py").write_text("from bench import Method\n")
    with pytest.raises(BenchError, match=r"empty_method.py: expected one class that extends Method, found none"):
        load_method("empty_method")


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
        "dense", "No compression: the dense model, trained with the whole step budget.", "in_training"
    )
    assert not [name for name in shown if name.startswith("_")]


def test_a_broken_file_stops_nobody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "torn_method.py").write_text("def (\n")
    odd = 'from bench import Method\n\nclass Odd(Method):\n    """Odd."""\n    stage = "post" + "_hoc"\n'
    (folder / "odd_method.py").write_text(odd)
    known = REAL_FILES("methods")
    theirs = {path.stem: path for path in folder.glob("*.py")}
    monkeypatch.setattr(registry, "files", lambda kind: {**known, **theirs})
    shown = {summary.name: summary for summary in registry.summaries("methods")}
    assert shown["torn_method"].title == "cannot be read: invalid syntax (torn_method.py, line 1)"
    assert shown["odd_method"].title == "Odd."
    assert shown["dense"].stage == "in_training"
    monkeypatch.undo()
    real = run.load_method_spec

    def loaded(name: str) -> MethodSpec:
        if name == "quantization":
            raise BenchError("methods/quantization cannot be imported: SyntaxError")
        return real(name)

    monkeypatch.setattr(run, "load_method_spec", loaded)
    usable, broken = run._usable(())
    assert "dense" in usable and "quantization" not in usable
    assert broken == {"quantization": "methods/quantization cannot be imported: SyntaxError"}
    with pytest.raises(BenchError, match="SyntaxError"):  # what was asked for is not left out
        run._usable(("dense", "quantization"))


def test_digest_follows_the_source(folder: Path) -> None:
    text = 'from bench import Method\n\nclass M(Method):\n    """A."""\n    stage = "post_hoc"\n    compress = None\n'
    (folder / "first_method.py").write_text(text)
    (folder / "second_method.py").write_text(text.replace('"""A."""', '"""B."""'))
    first, second = load_method("first_method"), load_method("second_method")
    assert source_digest((first,)) == source_digest((first,)) != source_digest((second,))


def test_digest_follows_what_a_plugin_imports_and_nothing_else() -> None:
    feature_noise = {path.name for path in registry._sources(load_method("feature_noise"))}
    assert {"feature_noise.py", "_width_noise.py", "_steering.py"} <= feature_noise
    assert not feature_noise & {"_broadcast.py", "stochastic_gates.py", "dense.py"}
    assert {path.name for path in registry._sources(load_method("dense"))} == {"dense.py"}
    task = {"/".join(path.parts[-2:]) for path in registry._sources(registry.load_task("antispoof"))}
    assert {"antispoof/resnet.py", "attacks/stft.py", "_speech/tract.py"} <= task
    assert "vad/__init__.py" not in task
