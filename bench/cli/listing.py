"""What `bench list` shows."""

from rich.table import Table

from bench.plugins import registry
from bench.terminal import terminal

#: how `bench list` groups methods, and what it says of what they promise
CAMPS = {
    "in-training": "methods that compress while a network trains",
    "post-hoc": "methods that compress a trained network",
    "control": "controls",
    "": "other methods",
}
SMALLER = {
    "structure": "structure",
    "front": "structure, all budgets at once",
    "mask": "weights, by zeros",
    "bits": "bits",
}


def show_plugins() -> None:
    """Print all tasks and methods by name, methods by camp, with what they make smaller; then what cannot be used."""
    tasks, methods, console = registry.summaries("tasks"), registry.summaries("methods"), terminal()
    unusable = [plugin for plugin in (*tasks, *methods) if plugin.problem]
    tasks, methods = ([plugin for plugin in kind if not plugin.problem] for kind in (tasks, methods))
    groups: dict[str, list[registry.Summary]] = {"tasks": tasks}
    for camp, title in CAMPS.items():
        groups[title] = [method for method in methods if method.camp == camp]
    for title, plugins in groups.items():
        columns = ("name", "title") if title == "tasks" else ("name", "makes smaller", "title")
        table = Table(*columns, title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for plugin in plugins:
            smaller = () if title == "tasks" else (SMALLER.get(plugin.promises, ""),)
            table.add_row(plugin.name, *smaller, plugin.title)
        if plugins:
            console.print(table, "")
    if unusable:
        table = Table("name", "reason", title="cannot be used", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for plugin in unusable:
            table.add_row(plugin.name, plugin.problem)
        console.print(table, "")
    console.print(
        "A smaller structure is faster in every runtime. Bits are faster where a runtime has integer kernels, ONNX "
        "Runtime on a CPU for convolutions, linear layers and LSTM. Zeros are not faster there.",
        style="dim",
    )
