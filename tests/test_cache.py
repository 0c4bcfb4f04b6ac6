import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cached_folder, content_key
from bench.cache import MANIFEST

SETTINGS = {"seed": 3, "model": "small", "rate": 0.1}


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
    code = f"from bench.cache import content_key; print(content_key({SETTINGS!r}))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == content_key(SETTINGS)
