"""A whole comparison: prepare, search, repeat with other seeds, read eval once, time, record."""

import dataclasses
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cache import content_key
from bench.dense import dense_checkpoint
from bench.errors import BenchError
from bench.executor import Job, JobReport, LocalExecutor, Lost
from bench.finish import evaluate_model, measure_latencies
from bench.method import Recipe
from bench.points import EVAL, INDEX, LATENCY, RECORD, load_points, read_json, trial_folder
from bench.provenance import provenance
from bench.registry import load_recipe, load_task
from bench.screen import Screen
from bench.search import MethodStudy, Proposal, frozen_choices
from bench.trial import MODEL, Setting, TrialSpec, run_trial, write_json

if TYPE_CHECKING:
    from bench.tracking import Tracker

SYNC_SECONDS = 20.0  # between two looks for what is to be logged


@dataclass(frozen=True)
class Request:
    """What a user asked for; None means as the preset has it."""

    task: str
    preset: str
    methods: tuple[str, ...]
    results: Path
    jobs: int
    tracking_uri: str | None = None
    budgets: tuple[float, ...] | None = None
    trials: int | None = None
    seeds: int | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    width_multiple: int = 1

    @property
    def folder(self) -> Path:
        """Where this comparison keeps its files."""
        return self.results / self.task / self.preset


@dataclass
class _Run:
    """A trial on its way: of which method and number, and what came of it."""

    recipe: Recipe
    number: int
    spec: TrialSpec
    role: str
    record: dict[str, Any] | None = None


class Comparison:
    """Runs what is not there yet, and leaves every finished trial on disk at once.

    Args:
        request: what to compare.
        executor: where jobs run.
        screen: what a person sees meanwhile.
    """

    def __init__(self, request: Request, executor: LocalExecutor, screen: Screen) -> None:
        self.request, self.executor, self.screen = request, executor, screen
        # importing mlflow and making its database takes 10 s, which pass while the data is made
        self._tracker = ThreadPoolExecutor(1, "mlflow").submit(_open_tracker, request)
        self.recipes = [load_recipe(name) for name in request.methods]
        self.plan = load_task(request.task).presets[request.preset]
        self.budgets = tuple(sorted(request.budgets or self.plan.budgets, reverse=True))
        self.seeds = request.seeds or self.plan.seeds
        self.setting = Setting(
            request.task,
            request.preset,
            request.fields,
            str(request.results / "cache"),
            width_multiple=request.width_multiple,
        )
        self.runs: list[_Run] = []
        self._provenance = provenance()
        self._synced = time.monotonic()
        self._studies: dict[str, MethodStudy] = {}
        self._dense_seeds: set[int] = set()

    def prepare(self) -> None:
        """Make the data and open the studies."""
        digest = self.setting.build_task().prepare(self.executor.workers, self.screen.preparing)
        self.screen.prepared()
        self.setting = dataclasses.replace(self.setting, data_digest=digest)
        made_from = self.setting.made_from
        for recipe in self.recipes:
            name = content_key(
                {**made_from, "method": recipe.name, "budgets": self.budgets, "space": str(recipe.space())}
            )
            self._studies[recipe.name] = MethodStudy(
                recipe,
                directions=(load_task(self.request.task).metric.direction, "minimize"),
                budgets=self.budgets,
                trials=self.request.trials or self.plan.trials,
                journal=self.request.folder / "studies" / f"{name}.journal",
            )

    def search(self) -> None:
        """Run all studies side by side, then the chosen points with the other seeds."""
        trials = sum(study.trials for study in self._studies.values())
        self.screen.say(
            f"{len(self.recipes)} methods, {trials} trials; budgets {', '.join(f'{b:g}' for b in self.budgets)}; "
            f"{self.plan.total_steps} training steps for every model; {self.seeds} seed{'s' * (self.seeds > 1)}"
        )
        self.screen.expect(trials)
        self._propose()
        self._drain()
        repeats = [
            _Run(run.recipe, run.number, dataclasses.replace(run.spec, seed=seed), "seed")
            for run in self.chosen()
            for seed in range(1, self.seeds)
        ]
        self.screen.expect(len(repeats))
        self._start(repeats)
        self._drain()

    def finish(self) -> None:
        """Read eval once for every frozen choice, then measure latency with nothing else running."""
        frozen = [run for run in self._frozen() if (run.record or {}).get("status") != "failed"]
        missing = [run for run in frozen if read_json(self._files(run) / EVAL) is None]
        for run in missing:
            self.executor.submit(Job(run.spec.key, "eval", evaluate_model, (self.setting, self._files(run))))
        self.screen.phase("reading eval", len(missing))
        while not self.executor.idle:
            _value(self.executor.next_finished())
            self.screen.advance()
        untimed = [self._files(run) for run in frozen if read_json(self._files(run) / LATENCY) is None]
        if untimed:
            self.screen.phase("measuring latency, alone on the machine", 1)
            self.executor.submit(Job("latency", "latency", measure_latencies, (self.setting, untimed)))
            _value(self.executor.next_finished())
            self.screen.advance()

    def write_index(self) -> None:
        """Say in ``comparison.json`` which trials belong to the comparison; other methods' entries stay."""
        path = self.request.folder / INDEX
        task = load_task(self.request.task)
        identity = content_key({**self.setting.made_from, "multiple": self.setting.width_multiple})
        before = read_json(path) or {}
        kept = before.get("methods", {}) if before.get("identity") == identity else {}
        frozen = {id(run) for run in self._frozen()}
        for recipe in self.recipes:
            runs = [run for run in self.runs if run.recipe is recipe and run.record is not None]
            kept[recipe.name] = {
                "stage": recipe.stage,
                "control": recipe.control,
                "trials": [self._entry(run, chosen=id(run) in frozen) for run in runs],
            }
        write_json(
            path,
            {
                "identity": identity,
                "task": self.request.task,
                "preset": self.request.preset,
                "metric": asdict(task.metric),
                "work_unit": task.work_unit,
                "budgets": self.budgets,
                "seeds": self.seeds,
                "plan": {k: v for k, v in asdict(self.plan).items() if k != "fields"},
                "setting": self.setting.made_from,
                "provenance": self._provenance,
                "methods": kept,
            },
        )

    def chosen(self) -> list[_Run]:
        """The best trial on dev of every method and budget, of those with the first seed."""
        chosen = []
        sign = 1 if load_task(self.request.task).metric.direction == "minimize" else -1
        for recipe in self.recipes:
            runs = {r.number: r for r in self.runs if r.recipe is recipe and r.role == "search"}
            asked = {n: r.recipe.build(r.spec.settings).asked_compute for n, r in runs.items()}
            errors = {n: None if (o := self._objectives(r)) is None else sign * o[0] for n, r in runs.items()}
            chosen += [runs[number] for number in frozen_choices(asked, errors, self.budgets)]
        return chosen

    def _frozen(self) -> list[_Run]:
        return [*self.chosen(), *(run for run in self.runs if run.role == "seed")]

    def _files(self, run: _Run) -> Path:
        return trial_folder(self.request.folder, run.spec.key)

    def _entry(self, run: _Run, *, chosen: bool) -> dict[str, Any]:
        return {
            "key": run.spec.key,
            "trial": run.number,
            "seed": run.spec.seed,
            "role": run.role,
            "budget": run.recipe.build(run.spec.settings).asked_compute,
            "settings": dict(run.spec.settings),
            "chosen": chosen,
        }

    def _objectives(self, run: _Run) -> tuple[float, float] | None:
        record = run.record or {}
        if record.get("status") not in ("complete", "missed"):
            return None
        return next(iter(record["dev"].values())), record["effective_macs"] / record["dense_macs"]

    def _propose(self) -> None:
        fresh = []
        for name, study in self._studies.items():
            recipe = next(r for r in self.recipes if r.name == name)
            fresh += [self._run(recipe, proposal) for proposal in study.proposals()]
        # small models first: they train fastest, so the first results appear soon
        self._start(sorted(fresh, key=lambda run: run.recipe.build(run.spec.settings).asked_compute or 1.0))

    def _run(self, recipe: Recipe, proposal: Proposal) -> _Run:
        return _Run(recipe, proposal.number, TrialSpec(self.setting, recipe.name, proposal.settings, 0), "search")

    def _start(self, runs: Sequence[_Run]) -> None:
        """Submit these trials; those that have been run before are done at once."""
        self.runs += runs
        known = []
        for run in runs:
            if (record := _finished(self._files(run))) is not None:
                known.append((run, record))
                continue
            needs = frozenset({f"dense {run.spec.seed}"} if run.recipe.stage == "post_hoc" else ())
            if needs:
                self._submit_dense(run.spec.seed)
            self.executor.submit(Job(run.spec.key, _label(run), train_and_measure, (run.spec, self._files(run)), needs))
        for run, record in known:
            self._record(run, record)

    def _submit_dense(self, seed: int) -> None:
        if seed not in self._dense_seeds:
            self._dense_seeds.add(seed)
            label = f"shared dense model, seed {seed}"
            self.executor.submit(Job(f"dense {seed}", label, train_dense, (self.setting, seed)))

    def _drain(self) -> None:
        while not self.executor.idle:
            job, result = self.executor.next_finished()
            run = next((r for r in self.runs if r.spec.key == job.key and r.record is None), None)
            if run is None:
                _value((job, result))
                continue
            if isinstance(result, (BenchError, Lost)):
                # the machine failed, not the method: shown, and tried again the next time
                result = {"status": "failed", "reason": str(result), "retry": True}
                with suppress(OSError):
                    self._files(run).mkdir(parents=True, exist_ok=True)
                    write_json(self._files(run) / RECORD, result)
            self._record(run, result)
            self.write_index()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self.sync()

    def _record(self, run: _Run, record: dict[str, Any]) -> None:
        run.record = record
        self.screen.trial_finished(_label(run), record)
        if run.role == "search":
            self._studies[run.recipe.name].tell(run.number, self._objectives(run))
            self._propose()

    def sync(self) -> None:
        """Log what is new to MLflow; a store that cannot be reached is said, and what is missing is logged later."""
        self._synced = time.monotonic()
        try:
            from bench.tracking import sync_points

            sync_points(self._tracker.result(), load_points(self.request.folder))
        except BenchError as error:
            self.screen.say(f"[yellow]not tracked yet: {error}[/]")


def _open_tracker(request: Request) -> "Tracker":
    from bench.tracking import Tracker, default_uri

    uri = request.tracking_uri or default_uri(request.results)
    return Tracker(uri, f"{request.task} {request.preset}", request.results / "mlartifacts")


def _label(run: _Run) -> str:
    asked = run.recipe.build(run.spec.settings).asked_compute
    compute = "" if asked is None else f" at {asked:.3g}"
    return f"{run.recipe.name}{compute}" + (f", seed {run.spec.seed}" if run.spec.seed else "")


def _value(finished: tuple[Job, Any]) -> Any:
    """The result of a job that nothing can do without."""
    job, result = finished
    if isinstance(result, (BenchError, Lost)):
        raise BenchError(f"{job.label}: {result}")
    return result


def train_dense(setting: Setting, seed: int, report: JobReport) -> None:
    """Job: train the shared dense model of a seed."""
    plan = setting.plan
    dense_checkpoint(
        setting.build_task(),
        plan,
        seed,
        setting.made_from,
        lambda done, loss: report(done / plan.dense_steps, f"loss {loss:.3f}"),
    )


def train_and_measure(spec: TrialSpec, folder: Path, report: JobReport) -> dict[str, Any]:
    """Job: run a trial; returns its record."""
    shutil.rmtree(folder, ignore_errors=True)
    return run_trial(spec, folder, lambda done, steps, loss: report(done / max(1, steps), f"loss {loss:.3f}"))


def _finished(folder: Path) -> dict[str, Any] | None:
    """The record of a trial that has been run before; one that the machine failed is run again."""
    record = read_json(folder / RECORD)
    if record is None or record.get("retry"):
        return None
    return record if record["status"] == "failed" or (folder / MODEL).exists() else None
