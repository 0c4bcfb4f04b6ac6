"""A comparison: which trials there are to run, in what order, and what is done with them when all have finished."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.check import ensure_repeats, known_to_repeat, require_disjoint
from bench.errors import BenchError, blaming
from bench.execution.executor import Executor, Job, Lost
from bench.export.model import kept_sizes
from bench.export.runtimes import TIMED_IN
from bench.plugins.method import DENSE_SHARE, DENSE_SHARES
from bench.plugins.registry import load_method_spec, load_task
from bench.results.index import write_index
from bench.results.points import Points
from bench.runner import planned
from bench.runner.planned import PlannedTrial
from bench.runner.progress import Pace, Screen
from bench.runner.reach import within_reach
from bench.runner.request import Request
from bench.runner.study import MethodStudy
from bench.stats.fronts import best_possible_front
from bench.stats.significance import seeds_needed
from bench.storage.cache import content_key
from bench.storage.provenance import provenance
from bench.tracking.sync import BackgroundTracker
from bench.trial.compress import train
from bench.trial.dense import train_dense
from bench.trial.evaluate import evaluate_model, time_models
from bench.trial.pricing import price_of
from bench.trial.record import TrialFolder, TrialRecord
from bench.trial.setting import TrialSpec
from bench.trial.verify import audit, changed_model

EFFORTS = {"steps": "", "macs": " of the dense model, or as many MACs,"}  # in words
TRAINING = "train"  # with the key of a trial: the key of the job that trains it; the key alone is that of its audit
SYNC_SECONDS = 20.0  # at least, between two times that new trials are logged to MLflow


class Comparison:
    """Runs what is not there yet, and leaves every finished trial on disk at once."""

    def __init__(self, request: Request, executor: Executor, screen: Screen) -> None:
        self.request, self.executor, self.screen = request, executor, screen
        self.method_specs = [load_method_spec(name) for name in request.methods]
        self._searched = [spec for spec in self.method_specs if not spec.follows]
        self.task_class = load_task(request.task)
        self.plan = self.task_class.presets[request.preset]
        self.budgets = tuple(sorted({*(request.budgets or self.plan.budgets)}, reverse=True))
        self.seeds = request.seeds or self.plan.seeds
        self.setting = request.setting
        self.trials: list[PlannedTrial] = []
        self._provenance = provenance()
        self._index_pace, self._sync_pace = Pace(), Pace(pause_s=SYNC_SECONDS)
        self._studies: dict[str, MethodStudy] = {}
        self._dense_seeds: set[int] = set()
        self._under_way: set[str] = set()
        self._refused: dict[str, str] = {}
        self._predicted: dict[str, tuple[tuple[float, float], ...]] = {}
        self._choice: list[PlannedTrial] | None = None  # once the search has ended: what fails later stays chosen

    def prepare(self) -> None:
        """Make the data and open the studies."""
        with blaming(f"task {self.request.task} cannot prepare its data"):
            task = self.setting.build_task()
            digest = task.prepare(self.executor.workers, self.screen.preparing)
            require_disjoint(task)
        self.setting = dataclasses.replace(self.setting, data_digest=digest)
        self._price()
        self._leave_out_unreachable_budgets()
        self.screen.prepared()
        for method_spec in self._searched:
            searched = f"{method_spec.space()} from {method_spec.defaults()}"
            asked = {"budgets": self.budgets, "method": method_spec.name, "space": searched}
            widths = {"groups": self.setting.width_groups, "multiple": self.setting.width_multiple}
            cost = {"cost": self.setting.cost, "price": self.setting.prices.get(method_spec.terminal, "")}
            timed = {} if self.setting.timed_in == TIMED_IN else self.setting.timed_in
            name = content_key({**self.setting.made_from, **asked, **widths, **cost, **timed})
            self._studies[method_spec.name] = MethodStudy(
                method_spec,
                directions=(self.task_class.metric.direction, "minimize"),
                budgets=self.budgets,
                trials=self.per_method,
                journal=self.request.folder / "studies" / f"{name}.journal",
            )
        store = self.request.task, self.request.preset, self.request.tracking_uri
        self._tracker = BackgroundTracker(self.request.results, *store)  # last: it goes on in a thread of its own

    @property
    def per_method(self) -> int:
        """Trials of each: one a budget, and as many to tune as the preset has, whatever the budgets."""
        return self.request.trials or len(self.budgets) + max(0, self.plan.trials - len(self.plan.budgets))

    def _leave_out_unreachable_budgets(self) -> None:
        """Those of a preset are for all models of a task; one that somebody asked for is refused."""
        self.budgets, why = within_reach(self.setting, self.method_specs, self.budgets, self.executor)
        if why and (self.request.budgets or not self.budgets):
            raise BenchError(f"{why}; choose larger ones with --budgets")
        if why:
            self.screen.say(f"left out {why}", "yellow")

    def _price(self) -> None:
        """Find out what widths cost, unless they are paid for in MACs: with plain export, and in each other format."""
        if self.setting.cost == "macs":
            return
        asking = [spec for spec in self.method_specs if spec.build(spec.defaults()).promises in ("structure", "front")]
        terminals, prices = dict.fromkeys(["", *(spec.terminal for spec in asking)]), {}
        self.screen.phase(f"measuring what widths cost in {self.setting.cost}", len(terminals))
        for name in terminals:
            made = f"{name or 'float'} models"
            price = self.executor.run_alone(Job(name, made, price_of, (self.setting, name), timed=False, here=True))
            self.screen.say(f"{made}: {self.setting.cost} predicted to {price.off:.1%} (median, models not fitted to)")
            prices[name] = content_key(dataclasses.asdict(price))
            self._predicted[made] = price.told
            self.screen.advance()
        self.setting = dataclasses.replace(self.setting, prices=prices)

    def search(self) -> None:
        """Run all studies side by side, then the chosen points with the other seeds."""
        trials = sum(study.trials for study in self._studies.values())
        same = f"{self.plan.total_steps} training steps{EFFORTS[self.setting.effort]} for every model"
        same += ", which learns from the dense model" * self.setting.distill
        budgets = ", ".join(f"{b:g}" for b in self.budgets)
        self.screen.say(
            f"{len(self.method_specs)} methods, {trials} trials; budgets {budgets}; {same}; "
            f"{self.seeds} seed{'s' * (self.seeds > 1)}"
        )
        if self.seeds < (needed := seeds_needed(paired=True)):
            self.screen.say(f"no verdict can come of so few seeds: {needed} are needed", "yellow")
        self.screen.expect(trials)
        self._check_methods()
        self._propose()
        self._drain()
        self._run(planned.carried_over(self.trials, self.task_class.metric, self.budgets))
        if self.seeds > 1:
            self._run(planned.second_looks(self.trials, self.task_class.metric, self.budgets))
        self._choice = self._chosen()
        self._run(planned.repeats(self._choice, self.trials, self.seeds))
        following = [spec for spec in self.method_specs if spec.follows]
        self._run(planned.followers(following, self._frozen(), self.task_class.metric, self.budgets, self._sizes))

    def _run(self, trials: Sequence[PlannedTrial]) -> None:
        self.screen.expect(len(trials))
        self._start(trials)
        self._drain()

    def finish(self) -> None:
        """Read eval once for every chosen trial, then measure latency with nothing else running."""
        self._refuse_changed_models()
        headline, frozen = self.task_class.metric.column, self._frozen()
        unread = {t.spec.key: t for t in frozen if t.has_model and not self._files(t).eval_was_read(headline)}
        evals = [
            Job(key, f"{trial.label}: eval", evaluate_model, (self.setting, self._files(trial)), timed=False)
            for key, trial in unread.items()
        ]
        ended = list(self._run_phase("reading eval", evals))
        self._fail("eval", {job.key: str(why) for job, why in ended if isinstance(why, (BenchError, Lost))})
        folders = dict.fromkeys(self._files(trial) for trial in self._frozen() if trial.is_timed)
        if untimed := [folder for folder in folders if folder.latencies() is None]:
            timing = Job("latency", "latency", time_models, (self.setting, untimed), timed=False, here=True)
            for job, result in self._run_phase("measuring latency, alone on the machine", [timing]):
                _require(job, result)
                self._fail("latency", result)
        self._refuse_changed_models()

    def _run_phase(self, name: str, jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
        self.screen.phase(name, len(jobs))
        for job in jobs:
            self.executor.submit(job)
        while not self.executor.idle:
            yield self.executor.next_finished()
            self.screen.advance()

    def _fail(self, stage: str, reasons: Mapping[str, str]) -> None:
        """Chosen models that cannot be measured, by key, have failed; the others go on."""
        for trial in self._frozen():
            if trial.spec.key in reasons:
                trial.record = self._failed(trial, f"{stage}: {reasons[trial.spec.key]}")
                self.screen.say(f"failed  {trial.label}: {trial.record.reason}", "red")

    def write_index(self) -> None:
        """Write which trials belong to the comparison, as far as they have finished."""
        with self._index_pace.kept():
            frozen = self._frozen()
            delivered = [t.record.macs_ratio for t in self.trials if t.record and t.record.macs_ratio is not None]
            write_index(
                self.request.folder,
                self.setting,
                {spec.name: planned.method_entry(spec, self.trials, frozen) for spec in self.method_specs},
                best_possible=best_possible_front(self.setting.build_task(), delivered),
                budgets=self.budgets,
                trials=self.per_method,
                seeds=self.seeds,
                predicted=self._predicted,
                provenance=self._provenance,
            )

    def sync(self) -> None:
        """Log what is new to MLflow, later if the store cannot be reached."""
        with self._sync_pace.kept():
            self._say_untracked(self._tracker.sync())

    def sync_report(self, points: Points) -> None:
        """Log the report to MLflow."""
        self._say_untracked(self._tracker.sync_report(points))

    def _say_untracked(self, trouble: str) -> None:
        if trouble:
            self.screen.say(f"not tracked yet: {trouble}", "yellow")

    def _chosen(self) -> list[PlannedTrial]:
        return self._choice or planned.chosen_trials(self.trials, self.task_class.metric, self.budgets)

    def _frozen(self) -> list[PlannedTrial]:
        return [*self._chosen(), *(trial for trial in self.trials if trial.role == "repeat")]

    def _sizes(self, trial: PlannedTrial) -> dict[str, int]:
        return kept_sizes(self._files(trial).path)

    def _files(self, trial: PlannedTrial) -> TrialFolder:
        return TrialFolder.of(self.request.folder, trial.spec.key)

    def _propose(self) -> None:
        """Start what the studies propose, until each waits for trials under way; finished ones are told at once."""
        while fresh := [
            PlannedTrial(spec, proposal.number, TrialSpec(self.setting, spec.name, proposal.settings, 0), "search")
            for spec in self._searched
            for proposal in self._studies[spec.name].proposals()
        ]:
            # whole models first, which take longest; then small ones, so that results appear soon, and controls
            self._start(sorted(fresh, key=lambda trial: (trial.asked_compute or 0.0, not trial.method_spec.control)))

    def _start(self, trials: Sequence[PlannedTrial]) -> None:
        """Submit these trials; one that has finished before is done at once, a twin of one under way waits for it."""
        known, headline = [], self.task_class.metric.column
        for trial in trials:
            self.trials.append(trial)
            reason = self._refused.get(trial.method_spec.name)
            record = self._failed(trial, reason) if reason else self._files(trial).finished(headline)
            if record is not None:
                known.append((trial, record))
            elif trial.spec.key not in self._under_way:
                self._under_way.add(trial.spec.key)
                self._submit(trial)
        for trial, record in known:
            self._record(trial, record)

    def _submit(self, trial: PlannedTrial) -> None:
        """Train in one process, audit in another; what was trained before an interruption need only be audited.

        Likewise what was trained to be executed by the usual runtime.
        """
        key, files = trial.spec.key, self._files(trial)
        if not files.awaits_audit:
            files.take_training(TrialFolder.of(self.request.folder, trial.spec.training))
        trained, needs = f"{TRAINING} {key}", frozenset[str]()
        if not files.awaits_audit:
            start = {self._dense(trial.spec.seed)} if trial.method_spec.stage == "post_hoc" else ()
            self.executor.submit(Job(trained, trial.label, train, (trial.spec, files), frozenset(start)))
            needs = frozenset({trained})
        self.executor.submit(Job(key, f"{trial.label}: audit", audit, (trial.spec, files), needs))

    def _check_methods(self) -> None:
        """Find the methods that give another model each time, while the dense model trains; they are not compared."""
        cache = Path(self.setting.cache)
        checks = {f"check {spec.name}": spec for spec in self.method_specs if not known_to_repeat(spec, cache)}
        if checks and self._dense_shares:
            self._dense(0)
        for key, spec in checks.items():
            label = f"does {spec.name} repeat to the bit?"
            self.executor.submit(Job(key, label, ensure_repeats, (spec, cache)))
        while checks:
            job, result = self.executor.next_finished()
            if job.key not in checks:
                _require(job, result)
                continue
            spec = checks.pop(job.key)
            if isinstance(result, BenchError):  # one that was lost has found out nothing
                self._refused[spec.name] = str(result)

    def _refuse_changed_models(self) -> None:
        """A chosen model whose files have changed since its audit has failed, whatever its scores."""
        for trial in self._frozen():
            if trial.record and trial.has_model and (reason := changed_model(self._files(trial), trial.record)):
                trial.record = self._failed(trial, reason)

    def _failed(self, trial: PlannedTrial, reason: str) -> TrialRecord:
        """Keep on disk that a trial has failed for a reason that may be gone the next time."""
        record = TrialRecord("failed", reason, retry=True)
        with suppress(OSError):
            self._files(trial).write(record)
        return record

    @cached_property
    def _dense_shares(self) -> tuple[float, ...]:
        """The shares of all steps after which any post-hoc method may be given the dense model of a seed."""
        found: set[float] = set()
        for spec in self._searched:
            tuned = DENSE_SHARE in spec.space() and self._studies[spec.name].tunes
            share = spec.dense_share({})
            found |= set() if share is None else {*DENSE_SHARES} if tuned else {share}
        return tuple(sorted(found))

    def _dense(self, seed: int) -> str:
        """The key of the job that trains the dense models of a seed, which is submitted when it is first needed."""
        key = f"dense {seed}"
        if seed not in self._dense_seeds:
            self._dense_seeds.add(seed)
            after = ", ".join(f"{share:.0%}" for share in self._dense_shares)
            label = f"shared dense model, seed {seed}, after {after} of the steps"
            self.executor.submit(Job(key, label, train_dense, (self.setting, seed, self._dense_shares)))
        return key

    def _drain(self) -> None:
        while not self.executor.idle:
            job, result = self.executor.next_finished()
            trials = [trial for trial in self.trials if trial.spec.key == job.key.split()[-1] and trial.record is None]
            if not trials:
                _require(job, result)
                continue
            if isinstance(result, (BenchError, Lost)):  # the machine failed, not the method: tried again the next time
                result = self._failed(trials[0], str(result))
            if job.key.startswith(TRAINING):
                continue  # the audit, which comes next, says how it went
            self._under_way.discard(trials[0].spec.key)
            for trial in trials:
                self._record(trial, result)
            self._propose()
            if self._index_pace.due:
                self.write_index()
            if self._sync_pace.due:
                self.sync()

    def _record(self, trial: PlannedTrial, record: TrialRecord) -> None:
        trial.record = record
        self.screen.trial_finished(trial.label + trial.tuned, record)
        if trial.role == "search":
            self._studies[trial.method_spec.name].tell(trial.number, record.objectives(self.task_class.metric.column))


def _require(job: Job, result: Any) -> None:
    """Nothing can be done without the result of this job."""
    if isinstance(result, (BenchError, Lost)):
        raise BenchError(f"{job.label}: {result}")
