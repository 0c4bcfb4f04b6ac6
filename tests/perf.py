"""`make perf`: what the harness costs, as ratios measured in one run. It is no test: it depends on the machine."""

import itertools
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from bench.export.latency import Loaded, Reference, measure_latency
from bench.export.model import export_onnx
from bench.plugins.registry import load_task
from bench.plugins.task import Batch, Plan, Task
from bench.trial.dense import fresh_model
from bench.trial.repeatable import Hardware
from bench.trial.trainer import Trainer
from bench.widths.cost import count_macs
from methods._width_noise import WidthNoise
from methods.feature_noise import FeatureNoise
from tests.many import write_many

STEPS, ROUNDS = 20, 7
NOISE_STEPS = {8: 10, 32: 3, 64: 1}  # steps timed at once, by width of the first stage: about as long each
RUN_STEPS = 100
LATENCIES = 10  # measurements of the same ratio
SMALL: dict[str, dict[str, Any]] = {  # corpora, as training steps do not depend on their size
    "antispoof": {"utterances": (160, 60, 66), "speakers": (12, 6, 6), "seconds": 2.0},
    "vad": {"mixtures": (48, 16, 16)},
}
MODELS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("antispoof", {"model": "cnn_tdnn"}),
    ("antispoof", {"model": "cnn_tdnn", "width": 8}),
    ("antispoof", {"model": "resnet10", "width": 16}),
    ("vad", {"model": "transformer"}),
    ("vad", {"model": "crnn"}),
)

Call = Callable[[], object]


def bare_loop(task: Task, plan: Plan, model: nn.Module, steps: int) -> None:
    """The steps that ``Trainer.fit`` does, as one would write them without a harness."""
    optimizer = torch.optim.AdamW(model.parameters(), plan.learning_rate, weight_decay=plan.weight_decay, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    model.train()
    for batch in itertools.islice(task.batches("train", 0), steps):
        loss = task.loss(model, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()


def fit(task: Task, plan: Plan, model: nn.Module, steps: int) -> None:
    """The same through the trainer."""
    Trainer(task, plan, steps=steps, seed=0, dense_macs=1).fit(model)


def noise_steps(task: Task, plan: Plan, steps: int) -> tuple[Call, Call]:
    """Training steps with feature noise at every width group, and plain ones."""
    model, plain = fresh_model(task, 0), fresh_model(task, 0)
    trainer = Trainer(task, plan, steps=10**6, seed=0, dense_macs=count_macs(model, task.example_input()))
    widths = trainer.widths(model)
    noise = WidthNoise(widths.sizes, 2.0, 0.25, gaussian=False)

    def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
        noise.draw(len(batch.inputs), annealing=1.0)
        return trainer.loss(network, batch) + widths.cost(noise.widths())

    def noisy() -> None:
        with widths.gate(noise.gates(), live=noise.live()):
            trainer.fit(model, steps, loss=loss, extra_parameters=[{"params": noise.parameters, "lr": 1e-4}])

    return noisy, lambda: trainer.fit(plain, steps)


def whole_runs(task: Task, plan: Plan, steps: int) -> tuple[Call, Call]:
    """All that feature noise does with its default settings, and a plain training of as many steps."""
    dense_macs = count_macs(fresh_model(task, 0), task.example_input())

    def trainer() -> Trainer:
        return Trainer(task, plan, steps=steps, seed=0, dense_macs=dense_macs)

    return (
        lambda: FeatureNoise().compress(fresh_model(task, 0), trainer()),
        lambda: trainer().fit(fresh_model(task, 0)),
    )


def ratio(first: Call, second: Call, label: str, rounds: int = ROUNDS) -> tuple[float, float]:
    """CPU time of the first over the second, interleaved: median of the rounds, and their spread."""
    first(), second()
    ratios = []
    for _ in track(range(rounds), label, transient=True):
        times = []
        for call in (first, second):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios), statistics.stdev(ratios)


def convolution_share(task: Task, plan: Plan) -> float:
    """The part of a plain step that is spent in convolutions."""
    model = fresh_model(task, 0)
    bare_loop(task, plan, model, 2)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
        bare_loop(task, plan, model, STEPS)
    events = [(event.key, event.self_cpu_time_total) for event in profile.key_averages()]
    return float(sum(time for name, time in events if "convolution" in name) / sum(time for _, time in events))


def channels_last(task: Task, plan: Plan) -> tuple[Call, Call]:
    """Plain steps on tensors whose channels lie side by side, and on those that PyTorch makes."""
    model, plain = fresh_model(task, 0).to(memory_format=torch.channels_last), fresh_model(task, 0)
    return lambda: bare_loop(task, plan, model, STEPS), lambda: bare_loop(task, plan, plain, STEPS)


def mixed_precision(task: Task, plan: Plan) -> tuple[Call, Call]:
    """Plain steps with bf16 where PyTorch holds that safe, and in single precision."""

    def steps(precision: Literal["fp32", "bf16"]) -> Call:
        hardware, model = Hardware("cpu", precision), fresh_model(task, 0)
        trainer = Trainer(task, plan, steps=10**6, seed=0, dense_macs=1, hardware=hardware)
        return lambda: trainer.fit(model, STEPS)

    return steps("bf16"), steps("fp32")


@contextmanager
def another_core_busy() -> Iterator[None]:
    """A process beside this one that computes all the time."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def latency_ratio(task: Task, dense: Task, label: str) -> tuple[float, float]:
    """Latency of a narrower model as a ratio to the dense one's, measured anew ten times: median, range over median."""
    example = dense.example_input()
    model, other = (export_onnx(fresh_model(t, 0), example) for t in (task, dense))
    with another_core_busy():
        ratios = [
            measure_latency(Loaded(model), Reference(Loaded(other).calls(example)), example)["latency_ratio"]
            for _ in track(range(LATENCIES), label, transient=True)
        ]
    middle = statistics.median(ratios)
    return middle, (max(ratios) - min(ratios)) / middle


def corpus_speed(cache: Path) -> float:
    """Seconds of speech generated for every CPU second, audio files written."""
    from tasks.antispoof.embedded import CorpusSpec, write_corpus

    spec = CorpusSpec(seconds=2.0, utterances=(72, 36, 55), speakers=(6, 3, 4))
    start = time.process_time()
    write_corpus(cache / "speed", spec, workers=1)
    return sum(spec.utterances) * spec.seconds / (time.process_time() - start)


def report_cost(folder: Path) -> tuple[float, float]:
    """What a report of 575 points takes, intervals over seeds and 1400 items included: CPU seconds with imports, MB."""
    points = write_many(folder)
    build = "import sys, pathlib, bench.report as r; r.write_report(pathlib.Path(sys.argv[1]))"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", build, str(points)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, (points / "report.html").stat().st_size / 1e6


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    table = Table(title="one thread; ratios of CPU time, both sides interleaved in this run")
    for column in ("what", "measured", "spread", "aim"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        task_class = load_task("antispoof")
        plan = task_class.presets["quick"]
        task = task_class.at("quick", cache=Path(folder), model="resnet10", width=8, **SMALL["antispoof"])
        task.prepare(1, lambda fraction, note: None)
        calls = {f: (lambda f=f: f(task, plan, fresh_model(task, 0), STEPS)) for f in (bare_loop, fit)}
        loop = ratio(calls[fit], calls[bare_loop], "training loop")
        table.add_row("our loop / bare PyTorch loop, same steps", f"{loop[0]:.3f}", f"{loop[1]:.3f}", "<= 1.02")
        table.add_row("part of a plain step that is convolutions", f"{convolution_share(task, plan):.2f}", "", "")
        for width in (8, 4):
            layout = ratio(*channels_last(replace(task, width=width), plan), f"channels last, width {width}")
            label = f"plain step on channels-last tensors / as it is, width {width}"
            table.add_row(label, f"{layout[0]:.2f}", f"{layout[1]:.2f}", "")
        for name, fields in MODELS:
            chosen = load_task(name).at("quick", cache=Path(folder), **SMALL[name], **fields)
            chosen.prepare(1, lambda fraction, note: None)
            label = f"plain step in bf16 / in fp32, {name} {' '.join(map(str, fields.values()))}"
            half = ratio(*mixed_precision(chosen, type(chosen).presets["quick"]), label)
            table.add_row(label, f"{half[0]:.2f}", f"{half[1]:.2f}", "")
        for width, steps in NOISE_STEPS.items():
            noise = ratio(*noise_steps(replace(task, width=width), plan, steps), f"feature noise, width {width}")
            aim = "<= 1.25" if width >= 32 else ""
            table.add_row(
                f"feature noise step / plain step, ResNet10 of width {width}", f"{noise[0]:.2f}", f"{noise[1]:.2f}", aim
            )
        run = ratio(*whole_runs(replace(task, width=16), plan, RUN_STEPS), "feature noise, whole run", rounds=3)
        table.add_row(
            "whole feature noise run at a quarter / plain run, width 16", f"{run[0]:.2f}", f"{run[1]:.2f}", "< 1"
        )
        for width in (8, 4, 2):
            latency = latency_ratio(replace(task, width=width), task, f"latency, width {width}")
            label = f"latency ratio, ResNet10 of width {width} / 8, ten times, another core busy"
            table.add_row(label, f"{latency[0]:.3f}", f"{latency[1]:.4f}", "spread <= .01")
        seconds, megabytes = report_cost(Path(folder) / "antispoof" / "quick")
        table.add_row("report of 575 points, CPU s with imports", f"{seconds:.1f}", "", "<= 10")
        table.add_row("its size, MB", f"{megabytes:.2f}", "", "<= 3")
        table.add_row("speech generated, x real time a core", f"{corpus_speed(Path(folder)):.0f}", "", ">= 50")
    Console().print(table)


if __name__ == "__main__":
    main()
