"""What `bench new-method` and `bench new-task` write runs as it is, and teaches in few lines."""

import importlib
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bench import BenchError, cli
from bench.authoring import new_plugin
from bench.plugins import registry
from bench.plugins.registry import Kind, load_method, names
from bench.testing import check_method, check_task, own_names


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_method_is_short_found_by_its_name_and_holds_to_the_contract() -> None:
    (path,) = new_plugin("methods", "new_idea", package=False)
    assert path == Path("methods/new_idea.py") and len(path.read_text().splitlines()) <= 40
    assert own_names("methods") == ["new_idea"] and load_method("new_idea").__name__ == "NewIdea"
    assert "own_method" not in path.read_text() and "new_idea:penalty=0.01" in path.read_text()
    assert "costs 0.4" in "".join(check_method("new_idea"))


def test_a_new_task_is_short_and_holds_to_the_contract() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    (path,) = new_plugin("tasks", "new_digits", package=False)
    assert len(path.read_text().splitlines()) <= 80
    assert "from tasks" not in path.read_text()  # it needs what `bench` exports, and nothing else of ours
    assert own_names("tasks") == ["new_digits"]
    after = float(check_task("new_digits")[-1].rpartition(" to ")[2])
    assert after < 5


def test_a_new_task_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    new_plugin("tasks", "without_library", package=False)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        BenchError, match="without_library reads its images from scikit-learn: pip install scikit-learn"
    ):
        check_task("without_library")


def test_the_class_of_a_plugin_does_not_hide_what_it_imports() -> None:
    new_plugin("methods", "batch", package=False)
    assert load_method("batch").__name__ == "BatchMethod"


def test_a_package_registers_itself_and_its_test_calls_the_suite(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = new_plugin("methods", "of_a_package", package=True)
    assert {str(path) for path in files} == {
        f"of_a_package/{n}" for n in ("of_a_package.py", "pyproject.toml", "test_of_a_package.py")
    }
    about = working_folder / "of_a_package" / "of_a_package-1.dist-info"  # as an installation would leave it
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: of-a-package\nVersion: 1\n")
    declared = Path("of_a_package/pyproject.toml").read_text().partition("[project.entry-points.")[2].splitlines()
    (about / "entry_points.txt").write_text(f"[{declared[0].strip(']')[1:-1]}]\n{declared[1].replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(working_folder / "of_a_package")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "installed", registry.installed.__wrapped__)  # else what was found before
        assert "of_a_package" in names("methods")
        importlib.import_module("test_of_a_package").test_of_a_package_holds_to_the_contract()


@pytest.mark.parametrize(
    ("kind", "name", "package", "said"),
    [
        ("methods", "dense", False, "a method is called 'dense' already"),
        ("methods", "vad", False, "a task is called 'vad' already"),
        ("tasks", "feature_noise", False, "a method is called 'feature_noise' already"),
        ("methods", "all", False, "'all' stands for every method"),
        ("methods", "Mine", False, "'Mine' cannot be a name"),
        ("methods", "_mine", False, "'_mine' cannot be a name"),
        ("methods", "../mine", False, "cannot be a name"),
        ("tasks", "lambda", False, "'lambda' cannot be a name"),
        ("methods", "a+b", False, "cannot be a name"),
        ("methods", "json", True, "a module is called 'json' already"),
    ],
)
def test_a_name_that_cannot_be_one_or_is_taken_is_refused(kind: Kind, name: str, package: bool, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        new_plugin(kind, name, package)
    assert not list(Path.cwd().iterdir())


def test_nothing_is_overwritten(working_folder: Path) -> None:
    (working_folder / "mine_alone").mkdir()
    (working_folder / "mine_alone" / "pyproject.toml").write_text("")
    with pytest.raises(BenchError, match=r"mine_alone/pyproject.toml is there already"):
        new_plugin("methods", "mine_alone", package=True)
    assert len(list((working_folder / "mine_alone").iterdir())) == 1
    new_plugin("methods", "mine_alone", package=False)
    with pytest.raises(BenchError, match="a method is called 'mine_alone' already"):
        new_plugin("methods", "mine_alone", package=False)
    assert "mine_alone" in names("methods")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ("new-method", "idea_one"),
            "next: bench check idea_one; bench run synthetic --methods dense,idea_one --preset smoke",
        ),
        (("new-task", "idea_two"), "next: bench check idea_two; bench run idea_two --preset smoke"),
        (
            ("new-method", "idea_three", "--package"),
            "next: pip install -e ./idea_three; bench check idea_three; bench run",
        ),
    ],
)
def test_the_command_names_what_it_wrote_and_what_to_do_next(
    command: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *command])
    with suppress(SystemExit):
        cli.main()
    *files, last = capsys.readouterr().out.splitlines()
    assert files and all(Path(file).is_file() for file in files) and last.startswith(told)
