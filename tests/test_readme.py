"""The README's example is a method that works, and its commands exist."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bench import Method
from bench.check import check_method
from bench.plugins.method import MethodSpec
from tasks._speech.manifest import Manifest
from tasks.antispoof.manifest import manifest_at
from tasks.vad.manifest import Listed, segments_of

README = Path(__file__).parent.parent / "README.md"


def example() -> str:
    found = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_example_is_a_method_of_at_most_forty_lines() -> None:
    assert len(example().splitlines()) <= 40


def test_example_holds_to_the_contract() -> None:
    module = ModuleType("readme_example")
    sys.modules[module.__name__] = module  # dataclasses look the module up
    exec(compile(example(), "README.md", "exec"), module.__dict__)
    method = module.__dict__["ActivationPruning"]
    assert issubclass(method, Method)
    lines = list(check_method(MethodSpec("activation_pruning", "activation_pruning", (method,), {})))
    assert any("of the dense MACs" in line for line in lines)


@pytest.mark.parametrize(("number", "kind"), [(0, manifest_at), (1, lambda path: Listed(path).manifest)])
def test_examples_of_tables_are_read(number: int, kind: Callable[[Path], Manifest], tmp_path: Path) -> None:
    tables = re.findall(r"```csv\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "manifest.csv").write_text(tables[number], encoding="utf-8")
    rows = kind(tmp_path / "manifest.csv").recordings
    assert len(tables) == 2 and len(rows) == 3 and not any(row.problem for row in rows)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("txt", "0.350000\t1.200000\tspeech\n1.8\t3.05\t\n"),
        (
            "rttm",
            "SPKR-INFO a 1 <NA>\nSPEAKER a 1 0.35 0.85 <NA> <NA> x <NA> <NA>\nSPEAKER a 1 1.8 1.25 <NA> <NA> y <NA>\n",
        ),
    ],
)
def test_labels_of_others_become_segments(kind: str, labels: str, tmp_path: Path) -> None:
    (tmp_path / f"anna.{kind}").write_text(labels)
    (command,) = re.findall(rf"^    (awk .* anna\.{kind})$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    said = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S602
    assert segments_of("speech", said.stdout) == {"segments": ((0.35, 1.2), (1.8, 3.05))}


def test_make_targets_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    targets = set(re.findall(r"^    make (\w+)", README.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {"bench", "test", "report"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
