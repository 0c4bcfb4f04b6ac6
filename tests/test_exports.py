"""What methods and tasks import from ``bench``."""

import ast
import inspect
import subprocess
import sys

import pytest

import bench


def test_every_name_loads_from_the_module_that_defines_it() -> None:
    for name, module in bench._MODULES.items():
        assert getattr(bench, name) is vars(sys.modules[module])[name]


def test_type_checkers_see_the_same_names() -> None:
    (seen,) = (node for node in ast.parse(inspect.getsource(bench)).body if isinstance(node, ast.If))
    imports = [node for node in seen.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == bench._MODULES
    assert {"BenchError", "Declined", *bench._MODULES} <= set(dir(bench))


def test_a_name_that_is_not_exported_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'Trainr'"):
        bench.Trainr  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "later"),
    [
        ("from bench import cached_folder, equal_error_rate, Plan", ("torch",)),
        ("import bench.runner.command", ("torch._dynamo", "mlflow", "scipy.stats", "seaborn", "matplotlib")),
    ],
)
def test_a_name_and_a_run_begin_with_no_more_than_they_need(statement: str, later: tuple[str, ...]) -> None:
    """Each of these takes a second or more."""
    code = f"import sys; {statement}; loaded = set({later}) & set(sys.modules); assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", code], check=True)
