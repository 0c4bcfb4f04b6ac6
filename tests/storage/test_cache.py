import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bench import BenchError, cached_folder, cli, content_key, folder_digest
from bench.storage import cache
from bench.storage.cache import FILES, MANIFEST, intact
from bench.storage.files import sole_supervisor, write_whole

SETTINGS = {"seed": 3, "model": "small", "rate": 0.1}


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Nothing has been checked yet, as in a process that has just been started."""
    cache._checked.clear()
    yield
    cache._checked.clear()


def test_a_folder_is_built_once(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "data.txt").write_text("content")

    root = tmp_path / "not" / "yet" / "there"
    first = cached_folder(root, "dense", SETTINGS, build)
    again = cached_folder(root, "dense", dict(reversed(SETTINGS.items())), build)
    assert first == again == root / f"dense-{content_key(SETTINGS)}"
    assert len(built) == 1
    assert (first / "data.txt").read_text() == "content"
    assert json.loads((first / MANIFEST).read_text()) == SETTINGS
    assert list(root.iterdir()) == [first]


def test_other_settings_and_other_names_have_other_folders(tmp_path: Path) -> None:
    folders = {
        cached_folder(tmp_path, name, settings, lambda folder: None)
        for name in ("dense", "data")
        for settings in (SETTINGS, {**SETTINGS, "seed": 4}, {**SETTINGS, "more": None})
    }
    assert len(folders) == 6


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_build_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def build(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise error("stopped")

    with pytest.raises(error, match="stopped"):
        cached_folder(tmp_path, "dense", SETTINGS, build)
    assert list(tmp_path.iterdir()) == []
    folder = cached_folder(tmp_path, "dense", SETTINGS, lambda f: None)
    assert not (folder / "half.txt").exists()


def test_the_first_of_two_builders_wins(tmp_path: Path) -> None:
    def slow(folder: Path) -> None:
        (folder / "who.txt").write_text("slow")
        quick = tmp_path / f"dense-{content_key(SETTINGS)}"
        quick.mkdir()
        (quick / "who.txt").write_text("quick")
        (quick / MANIFEST).write_text("{}")

    folder = cached_folder(tmp_path, "dense", SETTINGS, slow)
    assert (folder / "who.txt").read_text() == "quick"
    assert list(tmp_path.iterdir()) == [folder]


BUILDING = """
import sys, time
from pathlib import Path
from bench.storage.cache import cached_folder

def build(folder):
    root = Path(sys.argv[1])
    (root / f"built-by-{sys.argv[2]}").touch()
    while not (root / "go").exists():
        time.sleep(0.01)

cached_folder(Path(sys.argv[1]) / "cache", "dense", {"seed": 1}, build)
"""


def building(root: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BUILDING, str(root), name])


def test_a_second_builder_waits_for_the_first(tmp_path: Path) -> None:
    builders = [building(tmp_path, name) for name in ("one", "other")]
    while not [*tmp_path.glob("built-by-*")]:
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [builder.wait(60) for builder in builders] == [0, 0]
    assert len([*tmp_path.glob("built-by-*")]) == 1
    assert len([*(tmp_path / "cache").iterdir()]) == 1  # and no lock


def test_nobody_waits_for_a_builder_that_was_killed(tmp_path: Path) -> None:
    first = building(tmp_path, "one")
    while not (tmp_path / "built-by-one").exists():
        time.sleep(0.01)
    second = building(tmp_path, "other")
    first.kill()
    first.wait(60)
    (tmp_path / "go").touch()
    assert second.wait(60) == 0 and (tmp_path / "built-by-other").exists()


def test_a_build_that_is_under_way_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        assert folder.is_dir()
        assert not (tmp_path / f"dense-{content_key(SETTINGS)}").exists()

    assert cached_folder(tmp_path, "dense", SETTINGS, build).is_dir()


def test_the_key_names_the_content() -> None:
    key = content_key({"b": [1, 2], "a": {"y": 1, "x": None}})
    assert key == content_key({"a": {"x": None, "y": 1}, "b": [1, 2]})
    assert len(key) == 16
    assert int(key, 16) >= 0
    others = [{}, {"b": [2, 1], "a": {"y": 1, "x": None}}, {"b": [1, 2], "a": {"y": "1", "x": None}}]
    assert key not in {content_key(other) for other in others}


def test_the_key_is_the_same_in_another_process() -> None:
    code = f"from bench import content_key; print(content_key({SETTINGS!r}))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == content_key(SETTINGS)


# --- damage


def build(folder: Path) -> None:
    (folder / "part").mkdir()
    (folder / "part" / "data.bin").write_bytes(bytes(range(256)) * 40)
    (folder / "list.json").write_text("[1, 2, 3]")


def hidden(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file and set its times back."""
    times = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut short": lambda folder: hidden(folder / "part" / "data.bin", lambda data: data[:-1]),
    "one bit": lambda folder: hidden(folder / "part" / "data.bin", lambda data: data[:5000] + b"!" + data[5001:]),
    "empty": lambda folder: (folder / "list.json").write_text(""),
    "gone": lambda folder: (folder / "list.json").unlink(),
    "a folder gone": lambda folder: shutil.rmtree(folder / "part"),
    "the list": lambda folder: (folder / FILES).write_text('{"list.json": [9, 1'),
    "the settings": lambda folder: (folder / MANIFEST).write_text("{}"),
    "a list of numbers": lambda folder: (folder / FILES).write_text('{"list.json": 3}'),
    "a list of notes": lambda folder: (folder / FILES).write_text('{"list.json": {"size": 9}}'),
    "a list of lists": lambda folder: (folder / FILES).write_text('[["list.json"]]'),
    "settings in a list": lambda folder: (folder / MANIFEST).write_text("[1]"),
    "nested settings": lambda folder: (folder / MANIFEST).write_text("[" * 100_000),
    "no settings": lambda folder: (folder / MANIFEST).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_damaged_is_made_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = cached_folder(tmp_path, "dense", SETTINGS, build)
    whole = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.name != FILES}
    assert intact(folder)
    damage(folder)
    assert not intact(folder)
    cache._checked.clear()
    assert cached_folder(tmp_path, "dense", SETTINGS, build) == folder
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.name != FILES} == whole
    assert intact(folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_copy_is_compared_once_and_then_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cached_folder(tmp_path / "one", "dense", SETTINGS, build)
    copy = Path(shutil.copytree(folder, tmp_path / "two" / folder.name))
    compared: list[str] = []
    digest = cache.file_digest
    monkeypatch.setattr(cache, "file_digest", lambda path: compared.append(path.name) or digest(path))
    assert intact(folder) and compared == []
    assert intact(copy) and sorted(compared) == ["data.bin", "list.json"]
    assert intact(copy) and len(compared) == 2


def test_open_files_of_a_damaged_folder_stay(tmp_path: Path) -> None:
    """Features are mapped into memory: whoever reads them must not be cut off by another process that mends them."""
    folder = cached_folder(tmp_path, "dense", SETTINGS, build)
    with (folder / "part" / "data.bin").open("rb") as reader:
        (folder / "list.json").unlink()
        cache._checked.clear()
        cached_folder(tmp_path, "dense", SETTINGS, build)
        assert len(reader.read()) == 256 * 40


def test_drafts_of_dead_processes_are_removed_and_others_kept(tmp_path: Path) -> None:
    name, host = f"dense-{content_key(SETTINGS)}", socket.gethostname()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for owner in (f"{host}.{int(dead.stdout)}", f"{host}.{os.getppid()}", f"elsewhere.{int(dead.stdout)}"):
        (tmp_path / f".{name}.{owner}").mkdir()
    cached_folder(tmp_path, "dense", SETTINGS, build)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {name, f".{name}.{host}.{os.getppid()}", f".{name}.elsewhere.{int(dead.stdout)}"}


# --- what is in a folder


def test_the_digest_names_names_and_content_alone(tmp_path: Path) -> None:
    one = cached_folder(tmp_path / "one", "dense", SETTINGS, build)
    two = cached_folder(tmp_path / "two", "data", {**SETTINGS, "seed": 4}, build)
    copy = Path(shutil.copytree(one, tmp_path / "three" / one.name))
    assert intact(copy)  # which notes the new times of its files
    assert folder_digest(one) == folder_digest(two) == folder_digest(copy)
    assert len(folder_digest(one)) == 16


def test_another_byte_or_name_gives_another_digest(tmp_path: Path) -> None:
    def other_byte(folder: Path) -> None:
        build(folder)
        (folder / "list.json").write_text("[1, 2, 4]")

    def other_name(folder: Path) -> None:
        build(folder)
        (folder / "list.json").rename(folder / "rows.json")

    makers = {"one": build, "two": other_byte, "three": other_name}
    digests = {folder_digest(cached_folder(tmp_path, name, SETTINGS, make)) for name, make in makers.items()}
    assert len(digests) == 3


# --- `bench cache`


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, settings in (("dense", {"seed": 0}), ("dense", {"seed": 1}), ("corpus", {"spec": {"speakers": 4}})):
        cached_folder(tmp_path / "cache", name, settings, lambda folder: write_whole(folder / "data", b"0" * 1000))
    (tmp_path / "cache" / ".dense-0.host.1").mkdir()
    trial = tmp_path / "synthetic" / "smoke" / "trials" / "1"
    trial.mkdir(parents=True)
    (trial / "trial.json").write_text("{}")
    return tmp_path


def cache_command(results: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "cache", "--results", str(results), *arguments])
    with suppress(SystemExit):
        cli.main()


def test_caches_are_listed(results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cache_command(results, monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    assert said.count("dense") == 2 and "seed=1" in said and "speakers=4" in said and "unfinished" in said
    (next((results / "cache").glob("corpus-*")) / "data").write_bytes(b"1" * 1000)
    cache_command(results, monkeypatch=monkeypatch)
    assert capsys.readouterr().out.count("damaged") == 1
    (next((results / "cache").glob("dense-*")) / MANIFEST).write_text("[1]")
    cache_command(results, monkeypatch=monkeypatch)
    assert capsys.readouterr().out.count("damaged") == 2


@pytest.mark.parametrize(
    ("name", "left"), [("dense", {"corpus", "unfinished"}), ("unfinished", {"corpus", "dense"}), ("all", set())]
)
def test_what_is_named_is_cleared_and_nothing_else(
    name: str, left: set[str], results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache_command(results, "--clear", name, "--yes", monkeypatch=monkeypatch)
    assert {item.kind for item in cache.listed(results / "cache")} == left
    assert (results / "synthetic" / "smoke" / "trials" / "1" / "trial.json").exists()
    assert str(results / "cache") in capsys.readouterr().out


def test_one_folder_is_cleared_by_its_key_and_only_if_asked(results: Path) -> None:
    folder = next((results / "cache").glob("corpus-*"))
    key = folder.name.partition("-")[2]
    questions = []
    cache.clear(results, key, confirm=lambda question: bool(questions.append(question)))
    assert folder.exists() and questions == ["Remove 1 folder, 0.0 MB?"]
    cache.clear(results, key, confirm=lambda question: True)
    assert not folder.exists()
    with pytest.raises(BenchError, match=r"nothing in the cache is called 'corpus'.*dense, unfinished"):
        cache.clear(results, "corpus", confirm=lambda question: True)


def test_caches_are_not_cleared_under_a_run(results: Path) -> None:
    with sole_supervisor(results), pytest.raises(BenchError, match="in use by process"):
        cache.clear(results, "all", confirm=lambda question: True)
    assert len(cache.listed(results / "cache")) == 4
