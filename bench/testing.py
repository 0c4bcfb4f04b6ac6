"""The conformance suite for your own tests: what ``bench check`` does, as functions that raise.

With pytest, in the repository of your plugins::

    import pytest
    from bench.testing import check_method, check_task, own_names

    @pytest.mark.parametrize("name", own_names("methods"))
    def test_method_holds_to_the_contract(name):
        check_method(name)
"""

import inspect

from bench.check import check_method_spec, check_plugin
from bench.check import check_task as task_lines
from bench.check.rules import ContractError, each_within
from bench.plugins.method import Method, MethodSpec
from bench.plugins.registry import Kind, folders, names
from bench.plugins.task import Task

__all__ = ["ContractError", "check_method", "check_task", "own_names"]


def own_names(kind: Kind) -> list[str]:
    """The names of all ``methods`` or ``tasks`` that are yours: of the working folder and of installed packages."""
    ours = {path.stem for path in folders(kind)[0].iterdir()}
    return [name for name in names(kind) if name not in ours]


def check_method(method: str | type[Method], *, task: str = "", model: str = "", limit_s: float = 300.0) -> list[str]:
    """Hold a method to the contract.

    Args:
        method: a name or a method spec, ``a+b:x=1``, or a class.
        task: the name of a task to try it on, at its smallest preset; a tiny one of random numbers unless given.
        model: of that task.
        limit_s: for each rule.

    Returns:
        A line for each rule. One that declines the task passes; its last line says so.

    Raises:
        ContractError: it breaks a rule, raises, or hangs; the message names the rule, or the line of its file.
    """
    if isinstance(method, str):
        return list(check_plugin(method, limit_s, task=task, model=model))
    spec = MethodSpec(method.__name__, method.__name__, (method,), {})
    return list(check_method_spec(spec, limit_s, task=task, model=model))


def check_task(task: str | Task, *, limit_s: float = 300.0) -> list[str]:
    """Hold a task to the contract.

    Args:
        task: a name, which is checked at its smallest preset, or a task whose data are prepared.
        limit_s: for each rule.

    Returns:
        A line for each rule.

    Raises:
        ContractError: as ``check_method``.
    """
    if isinstance(task, str):
        return list(check_plugin(task, limit_s))
    return list(each_within(limit_s, type(task).__name__, {inspect.getfile(type(task))}, task_lines(task)))
