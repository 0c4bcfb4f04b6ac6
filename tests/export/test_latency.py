"""Timing: of fake callables on a fake clock, of real models, and what a timed trial leaves."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.export.latency import Compared, Effort, Loaded, Reference, call_times_ms, compare_times, measure_latency
from bench.export.model import Predictor, export_onnx
from bench.plugins.task import Task
from tasks.antispoof import Antispoof
from tasks.antispoof.resnet import LAYOUTS
from tasks.vad import Vad
from tests.models import Points

SHORT = Effort(repeats=10, most=30, repeat_ms=40.0)


class Machine:
    """A clock that moves only while something runs, at a speed that may change."""

    def __init__(self, slowness: Callable[[float], float] = lambda seconds: 1.0) -> None:
        self.seconds, self.runs, self._slowness = 0.0, 0, slowness

    def clock(self) -> float:
        return self.seconds

    def run(self, ms: float, interruption_ms: float = 0.0) -> Callable[[], None]:
        """What takes this long; of 19 runs of the machine one is interrupted."""

        def work() -> None:
            self.runs += 1
            extra = interruption_ms if self.runs % 19 == 0 else 0.0
            self.seconds += (ms * self._slowness(self.seconds) + extra) / 1e3

        return work


def compare(machine: Machine, run: Callable[[], None], reference: Callable[[], None]) -> Compared:
    return compare_times([run], Reference([reference], machine.clock), SHORT)


def test_ratio_of_steady_callables_is_exact() -> None:
    machine = Machine()
    compared = compare(machine, machine.run(2.0), machine.run(4.0))
    assert compared.own_ms == pytest.approx(2) and compared.ratio == pytest.approx(0.5)
    assert compared.spread == pytest.approx(0, abs=1e-9)


def test_a_clock_speed_that_changes_steadily_cancels() -> None:
    """The machine becomes twice as slow in half a second: run before reference would give .503, not .5."""
    machine = Machine(slowness=lambda seconds: 1 + 2 * seconds)
    assert compare(machine, machine.run(2.0), machine.run(4.0)).ratio == pytest.approx(0.5, abs=1e-4)


def test_interrupted_runs_do_not_count() -> None:
    machine = Machine()
    compared = compare(machine, machine.run(0.2, interruption_ms=5), machine.run(0.4, interruption_ms=5))
    assert compared.ratio == pytest.approx(0.5) and compared.own_ms == pytest.approx(0.2)


def test_copies_in_memory_count_alike() -> None:
    """One copy of three lies badly in memory, of the model and of the reference: the median does not see it."""
    machine = Machine()
    runs, references = [machine.run(ms) for ms in (0.2, 0.2, 0.28)], [machine.run(ms) for ms in (0.4, 0.56, 0.4)]
    compared = compare_times(runs, Reference(references, machine.clock), Effort(10, 30, 60.0))
    assert compared.ratio == pytest.approx(0.5) and compared.own_ms == pytest.approx(0.2)


def test_copies_of_a_slow_model_are_left_out() -> None:
    """A round takes 600 ms, a repeat may take 40: three rounds of one copy, ten times, and little besides."""
    machine, unused = Machine(), Machine()
    runs, references = [machine.run(100), unused.run(1)], [machine.run(200), unused.run(1)]
    compared = compare_times(runs, Reference(references, machine.clock), SHORT)
    assert compared.ratio == pytest.approx(0.5) and unused.runs == 0
    assert machine.seconds < 10 * (3 * 0.6 + 0.4) + 4


def neighbour(small: float, large: float) -> tuple[Machine, Callable[[], None], Callable[[], None]]:
    """Somebody who works on the same core for 400 ms of each second, and slows one model down more than the other."""
    machine = Machine()

    def run(ms: float, slowed: float) -> Callable[[], None]:
        def work() -> None:
            machine.run(ms * (slowed if machine.seconds % 1 > 0.6 else 1.0))()

        return work

    return machine, run(1.0, small), run(4.0, large)


def test_only_rounds_in_which_the_reference_is_fast_count() -> None:
    machine, run, reference = neighbour(1.1, 1.6)
    machine.seconds = 0.5  # soon after, the neighbour comes
    compared = compare(machine, run, reference)
    assert compared.ratio == pytest.approx(0.25) and compared.own_ms == pytest.approx(1) and compared.spread < 1e-6
    assert compared.reference_ms == pytest.approx(4)


def test_a_reference_remembers_how_fast_it_can_be() -> None:
    """Wholly within the neighbour's time a comparison cannot know; it waits, if one before was calm."""
    machine, run, reference = neighbour(1.1, 1.6)
    brief, again = Effort(2, 2, 40.0), Reference([reference], machine.clock)
    machine.seconds = 0.65
    assert compare_times([run], again, brief).ratio == pytest.approx(1.1 / 6.4)
    machine.seconds = 1.1
    assert compare_times([run], again, brief).ratio == pytest.approx(0.25)
    assert again.fastest_ms == pytest.approx(4)
    machine.seconds = 2.65
    waited = compare_times([run], again, Effort(2, 40, 40.0))
    assert waited.ratio == pytest.approx(0.25)


def test_a_neighbour_who_stays_is_told() -> None:
    machine, run, reference = neighbour(1.1, 1.6)
    known = Reference([reference], machine.clock)
    known.fastest_ms, machine.seconds = 4.0, 0.65
    compared = compare_times([run], known, Effort(2, 2, 40.0))
    assert compared.reference_ms == pytest.approx(6.4) and compared.ratio == pytest.approx(1.1 / 6.4)


def test_spread_is_the_range_of_the_repeats_over_their_median() -> None:
    """Every hundredth of a second the model takes a tenth longer than in the one before, and then not."""
    machine = Machine()

    def changing() -> None:
        machine.run(2.2 if int(machine.seconds * 10) % 2 else 2.0)()

    compared = compare(machine, changing, machine.run(4.0))
    assert 0.05 < compared.spread <= 0.1001


def test_single_runs_are_timed_one_by_one() -> None:
    machine = Machine()
    times = call_times_ms(machine.run(1.0, interruption_ms=9), total_ms=100, clock=machine.clock)
    assert sorted(set(times.round(6))) == [1, 10] and (times > 5).mean() == pytest.approx(1 / 19, abs=0.02)
    assert len(call_times_ms(machine.run(500), clock=machine.clock)) == 20  # however long one takes


def stack(layers: int) -> Loaded:
    """The same work so many times over."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv1d(64, 64, 9, padding=4) for _ in range(layers)))
    return Loaded(export_onnx(model, torch.zeros(1, 64, 100)))


def test_models_are_timed_against_each_other() -> None:
    once, inputs = stack(6), torch.zeros(1, 64, 100)
    same = measure_latency(once, Reference(stack(6).calls(inputs)), inputs)
    assert same["latency_spread"] >= 0 and 0 < same["latency_wall_ms"] <= same["latency_p95_ms"]
    long = stack(12)
    twice = measure_latency(long, Reference(once.calls(inputs)), inputs)
    half = measure_latency(once, Reference(long.calls(inputs)), inputs)
    assert twice["latency_ratio"] > 1 > half["latency_ratio"]


def test_a_task_has_no_further_inputs_unless_it_says_so() -> None:
    assert Points().timed_inputs() == {}


MODELS: list[Task] = [
    *(Antispoof(model=layout, width=4, stem_stride=stride) for layout in LAYOUTS for stride in (1, 4)),
    Antispoof(model="cnn_tdnn", width=4),
    *(Vad(model=model, size="tiny") for model in ("crnn", "transformer", "causal")),
]


@pytest.mark.parametrize("task", MODELS, ids=lambda task: f"{task.model}{getattr(task, 'stem_stride', '')}")
def test_every_model_takes_chunk_and_utterance(task: Antispoof | Vad) -> None:
    inputs, model = task.timed_inputs(), task.build_model().eval()
    assert list(inputs) == ["chunk", "utterance"]
    seconds = {"chunk": 0.16, "utterance": task.scored_frames / 100 if isinstance(task, Antispoof) else task.seconds}
    predict = Predictor(export_onnx(model, task.example_input()))
    for name, tensor in inputs.items():
        assert tensor.shape == (*task.example_input().shape[:2], 100 * seconds[name])
        with torch.inference_mode():
            torch.testing.assert_close(predict(tensor), model(tensor), atol=1e-4, rtol=1e-3)
