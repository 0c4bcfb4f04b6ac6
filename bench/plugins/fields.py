"""Fields of methods and tasks that users set: from text to values of the types that the plugin declares."""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import fields
from inspect import formatannotation
from typing import Any, get_type_hints

from bench.errors import BenchError, MethodError, did_you_mean


def parse_settings(texts: Iterable[str], *, where: str, example: str) -> dict[str, Any]:
    """The settings ``name=value``; a value is a Python literal or else a string. An error names ``where``."""
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise BenchError(f"{where}: {text!r} is not a setting; expected name=value, such as {example}")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # the latter of a huge nesting
            settings[name] = value
    return settings


def typed(plugin: type, name: str, value: Any, said: str) -> Any:
    """A value for a field of this plugin, in the type that it declares; a list for a tuple is one, 3 for a text is one.

    Raises:
        BenchError: it is of another type; the message begins with ``said``.
    """
    from pydantic import TypeAdapter, ValidationError  # not before a value is given: --help does without

    try:
        hint = get_type_hints(plugin)[name]
    except (NameError, TypeError, AttributeError):  # a type that its file imports for type checkers only
        return value
    adapter = TypeAdapter(hint, config={"arbitrary_types_allowed": True, "coerce_numbers_to_str": True})
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise BenchError(f"{said}: expected {formatannotation(hint)}, not {value!r}") from error


def configure(method: type[Any], settings: Mapping[str, Any]) -> Any:
    """The method with these settings.

    Raises:
        BenchError: a name is unknown, or a value is of another type than declared.
        MethodError: the method itself refuses them.
    """
    known = [field.name for field in fields(method) if field.init]
    for name in settings:
        if name not in known:
            near, all_known = did_you_mean(name, known), ", ".join(known)
            raise BenchError(f"{method.__name__} has no setting {name!r}{near}; it has: {all_known}")
    values = {name: typed(method, name, value, f"{method.__name__}: {name}") for name, value in settings.items()}
    try:
        return method(**values)
    except (TypeError, ValueError) as error:
        raise MethodError(f"{method.__name__}: {error}") from error
