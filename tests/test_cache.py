import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import cached_folder, content_key, folder_digest
from bench.storage import cache
from bench.storage.cache import FILES, MANIFEST, intact

SETTINGS = {"seed": 3, "model": "small", "rate": 0.1}


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Nothing has been looked through yet, as in a process that has just been started."""
    cache._looked_through.clear()
    yield
    cache._looked_through.clear()


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
    "no settings": lambda folder: (folder / MANIFEST).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_damaged_is_made_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = cached_folder(tmp_path, "dense", SETTINGS, build)
    whole = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.name != FILES}
    assert intact(folder)
    damage(folder)
    assert not intact(folder)
    cache._looked_through.clear()
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
        cache._looked_through.clear()
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
