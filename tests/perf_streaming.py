"""`python -m tests.perf_streaming`: what a chunk takes in a stream, against a chunk alone and against a second anew."""

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bench.export.latency import Loaded, compare_times
from bench.export.model import export_onnx
from bench.export.streaming import export_stream, filled_inputs
from tasks.vad import Vad

SIZES = ("small", "paper")


def row(task: Vad) -> list[str]:
    """ms of a chunk in a stream; the same as a multiple of two other ways to score it."""
    model, example = task.build_model().eval(), task.example_input()
    chunk: Tensor = task.timed_inputs()["chunk"]
    stream, alone = export_stream(model, example), Loaded(export_onnx(model, example))
    calls = Loaded(stream).calls(*filled_inputs(stream, chunk))
    found = [compare_times(calls, alone.reference(inputs)) for inputs in (chunk, example)]
    ratios = [f"{own.ratio:.2f} ± {own.spread * own.ratio / 2:.2f}" for own in found]
    return [task.model, task.size, f"{found[0].own_ms:.3f}", *ratios]


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table = Table(title="a chunk of 160 ms on one thread, CPU time in ONNX Runtime")
    for column in ("model", "size", "in a stream, ms", "/ chunk alone", "/ last second anew"):
        table.add_column(column)
    for model in ("crnn", "causal"):
        for size in SIZES:
            table.add_row(*row(Vad(model=model, size=size)))
    Console().print(table)


if __name__ == "__main__":
    main()
