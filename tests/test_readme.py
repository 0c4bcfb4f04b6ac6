"""The README's example is a method that works, and its commands exist."""

import re
import sys
from pathlib import Path
from types import ModuleType

from bench import Method
from bench.check import check_method
from bench.plugins.method import MethodSpec

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


def test_make_targets_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    targets = set(re.findall(r"^    make (\w+)", README.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {"bench", "test", "report"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
