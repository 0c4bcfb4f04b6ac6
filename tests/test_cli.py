"""What a user can get wrong: one clear message, exit code 2, no traceback."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from bench import cli
from bench.execution.executor import Cluster
from bench.plugins.registry import Summary, load_method_spec
from bench.runner import command
from bench.runner.planned import PlannedTrial, failure
from bench.runner.request import Request
from bench.storage.cache import cached_folder
from bench.storage.files import sole_supervisor
from bench.trial.record import TrialRecord
from bench.trial.repeatable import Hardware
from bench.trial.setting import Setting, TrialSpec
from tests.jobs import Here
from tests.tasks.test_data_digest import write_asvspoof


def complaint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """Run the command in this process; it must end with exit code 2 and a message, which is returned."""
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and "loading" not in said
    return said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "antispof"), "no task is called 'antispof' (did you mean 'antispoof'?)"),
        (("run", "antispoof", "--preset", "quik"), "no preset 'quik' (did you mean 'quick'?)"),
        (("run", "antispoof", "--methods", "magnitude_prunning"), "did you mean 'magnitude_pruning'?"),
        (("run", "antispoof", "--methods", "quantization+dense"), "put Quantization last"),
        (("run", "antispoof", "--methods", "magnitude_pruning+feature_noise"), "put FeatureNoise first"),
        (("run", "antispoof", "--methods", "feature_noise:wndow=1"), "no setting 'wndow'"),
        (("run", "antispoof", "--methods", "feature_noise:form"), "expected name=value"),
        (
            ("run", "antispoof", "--methods", "slimmable:budgets=0.25 0.125", "--budgets", "0.25,0.5"),
            "Slimmable: budget 0.5 is none of those it is trained for, 0.25 0.125;",
        ),
        (
            ("run", "antispoof", "--methods", "nested_subspaces:budgets=0.3", "--budgets", "0.5"),
            "NestedSubspaces: budget 0.5 is none of those it is trained for, 0.3;",
        ),
        (("run", "antispoof", "--methods", "importance_pruning:batches=many"), "batches: expected int, not 'many'"),
        (("run", "antispoof", "--methods", "importance_pruning:batches=2.5"), "batches: expected int, not 2.5"),
        (("run", "antispoof", "--budgets", "0.5,1.5"), "budget '1.5' is outside (0, 1]"),
        (("run", "antispoof", "--budgets", "0"), "budget '0' is outside (0, 1]"),
        (("run", "antispoof", "--budgets", "half"), "budget 'half'"),
        (("run", "antispoof", "--data", "/no/such/folder"), "/no/such/folder"),
        (("run", "antispoof", "--model", "resnet11"), "no model 'resnet11'"),
        (
            ("run", "antispoof", "--set", "mdoel=x"),
            "no field 'mdoel' that --set mdoel=... could set (did you mean 'model'?)",
        ),
        (("run", "synthetic", "--data", "/x"), "task synthetic has no field 'data' that --data could set"),
        (("run", "antispoof", "--set", "batch_size=4"), "no field 'batch_size'"),
        (("run", "antispoof", "--set", "cache=/x"), "no field 'cache'"),
        (("run", "antispoof", "--set", "seed"), "--set: 'seed' is not a setting; expected name=value"),
        (("run", "antispoof", "--set", "width=abc"), "--set width: expected int, not 'abc'"),
        (("run", "antispoof", "--set", "speakers=[1,2]"), "--set speakers: expected tuple[int, int, int], not [1, 2]"),
        (("run", "synthetic", "--set", "scored=abc"), "--set scored: expected int, not 'abc'"),
        (("run", "synthetic", "--set", "problem=[1]"), "--set problem: expected str, not [1]"),
        (("run", "antispoof", "--set", f"speakers={'-' * 100_000}1"), "expected tuple[int, int, int], not '------"),
        (("run", "antispoof", "--set", "metric=eer"), "no field 'metric'"),
        (("run", "antispoof", "--set", "presets={}"), "no field 'presets'"),
        (("run", "antispoof", "--set", "width=0"), "width is 0, expected 1 to 10000"),
        (("run", "antispoof", "--set", "seconds=nan"), "Utterances of nan s: expected 0.5 to 60 s"),
        (("run", "antispoof", "--set", "utterances=(0,0,0)"), "0 utterances of 60 speakers in train"),
        (("run", "antispoof", "--set", "speakers=(1000000,6,6)"), "1000000 speakers in train: expected at most 100000"),
        (("run", "antispoof", "--set", "utterances=(20,20,10**9)"), "expected tuple[int, int, int]"),
        (
            ("run", "antispoof", "--set", "utterances=(20,20,1000000000)"),
            "1000000000 utterances of 40 speakers in eval",
        ),
        (("run", "vad", "--set", "speakers=1000000"), "1000000 speakers with 10 utterances each"),
        (("run", "vad", "--set", "noises=1000000"), "1000000 noises of a kind: expected at most 100000 utterances"),
        (("run", "vad", "--set", "mixtures=(1,1,1000000000)"), "expected at most 1000000000 frames a split"),
        (("data", "check", "--task", "vad", "--set", "speakers=1000000"), "1000000 speakers with 10 utterances each"),
        (("data", "check"), "Missing option '--task'"),
        (("data", "check", "/no/such/folder", "--task", "antispoof"), "/no/such/folder does not exist"),
        (("run", "antispoof", "--data", "no.csv"), "Manifest no.csv does not exist: expected a table with the columns"),
        (("run", "vad", "--set", "bands=-1"), "bands is -1, expected 1 to 256"),
        (("run", "vad", "--set", "seconds=inf"), "Files of inf frames are too long"),
        (("run", "synthetic", "--set", "problem_seed=-1"), "problem_seed -1"),
        (("run", "antispoof", "--methods", "dense:learning_rate_factor=0"), "learning_rate_factor 0 is not a positive"),
        (("run", "antispoof", "--methods", "dense:learning_rate_factor=abc"), "'abc' is not a positive number"),
        (("run", "antispoof", "--device", "gpu"), "no device is called 'gpu'"),
        (("run", "antispoof", "--device", "cuda:99"), "device cuda:99 is not there"),
        (("run", "antispoof", "--address", "auto"), "add --executor ray"),
        (("run", "antispoof", "--cpus", "2"), "--cpus 2.0 is for Ray, but trials run on this machine"),
        (("run", "antispoof", "--gpus", "0"), "--gpus 0.0 is for Ray"),
        (("run", "antispoof", "--executor", "ray", "--cpus", "0"), "--gpus more than 0"),
        (("run", "antispoof", "--executor", "ray", "--cost", "latency"), "that of one machine"),
        (("run", "antispoof", "--jobs", "0"), "--jobs"),
        (("run", "antispoof", "--trials", "many"), "--trials"),
        (("report", "antispoof", "--results", "/no/such/folder"), "no results in /no/such/folder/antispoof/quick"),
        (("report", "antispoof", "--model", "m", "--results", "/no/such/folder"), "no results folder /no/such/folder"),
        (("report", "../antispoof"), "'../antispoof' cannot be the name of a task"),
        (("report", "antispoof", "--preset", ".."), "'..' cannot be the name of a task or a preset"),
        (("ui", "--results", "/no/such/folder"), "run a comparison first"),
        (("pick", "antispoof", "--results", "/no/such/folder"), "no results in /no/such/folder/antispoof/quick"),
        (("pick", "--max-eer", "10", "antispoof"), "--max-eer: name the task first"),
        (("pick", "../antispoof"), "'../antispoof' cannot be the name of a task"),
        (("export", "antispoof", "--model", "m", "--results", "/no/such/folder"), "no results with model m in"),
        (("export", "antispoof", "--budget", "half"), "--budget"),
        (("score", "/no/such/folder", "a.wav"), "no model in /no/such/folder: expected a folder that `bench export`"),
        (("score", "/no/such/folder"), "Missing argument 'paths'"),
        (("check", "feature_nois"), "did you mean 'feature_noise'?"),
        (("check", "dense", "--model", "crnn"), "--model crnn is of a task: say which with --task"),
        (("check", "vad", "--task", "synthetic"), "vad is a task; --task synthetic is for a method"),
        (("check", "synthetic", "--model", "x.py:f"), "task Synthetic has no field 'model' that --model could set"),
        (("new-method", "dense"), "a method is called 'dense' already: choose another name"),
        (("new-task", "my-task"), "'my-task' cannot be a name"),
        (("rnu",), "rnu"),
    ],
)
def test_mistake_is_named(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = complaint(capsys, monkeypatch, *arguments)
    assert message in " ".join(said.replace("│", " ").split())


def test_text_that_looks_like_markup_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Summary("[/bold]", "[/red] :smile: [link=x]", "post-hoc", "[/dim]")
    monkeypatch.setattr("bench.plugins.registry.summaries", lambda kind: [odd])
    results = tmp_path / "results[/bold]"
    cached_folder(results / "cache", "kind[bold]", {"name": "[/red]"}, lambda folder: None)
    for arguments in (["list"], ["cache", "--results", str(results)]):
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        with suppress(SystemExit):
            cli.main()
    said = "".join(capsys.readouterr().out.split())
    for text in ("[/bold][/red]:smile:[link=x]", "results[/bold]/cache", "kind[bold]", "name=[/red]"):
        assert text in said


def test_a_terminal_without_our_signs_shows_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a C locale."""
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding="ascii", write_through=True))
    monkeypatch.setattr(sys, "argv", ["bench", "cache", "--results", str(tmp_path / "größe")])
    with suppress(SystemExit):
        cli.main()
    assert b"gr??e" in written.getvalue()


def test_a_task_without_a_field_for_models_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = complaint(capsys, monkeypatch, "explain", "synthetic", "--model", "mine.py:build")
    assert said.startswith("error: task synthetic has no field 'model' that --model could set; it has: problem")


def test_a_comparison_without_any_model_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_method_spec("dense")
    setting = Setting("synthetic", "smoke")
    failed, declined, complete = (
        PlannedTrial(spec, 0, TrialSpec(setting, "dense", {}, 0), "search", TrialRecord(status, "out of luck"))
        for status in ("failed", "declined", "complete")
    )
    assert failure([failed, complete]) == failure([declined]) == failure([]) == ""
    monkeypatch.setattr(command, "_supervise", lambda request, console: (None, failure([failed, declined, failed])))
    monkeypatch.setattr(command, "print_answer", lambda data: None)
    said = complaint(capsys, monkeypatch, "run", "synthetic", "--preset", "smoke", "--results", tmp_path)
    assert said == "error: no trial came to a model, 2 failed; the first: out of luck\n"


def test_folder_that_is_no_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "holiday.txt").write_text("sun")
    said = complaint(capsys, monkeypatch, "run", "antispoof", "--data", tmp_path)
    assert str(tmp_path) in said and "ASVspoof" in said


def test_results_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # a file where a folder should be: permissions do not stop root, which the tests may run as
    (tmp_path / "file").write_text("")
    said = complaint(capsys, monkeypatch, "run", "antispoof", "--results", tmp_path / "file" / "results")
    assert "cannot write to the results folder" in said and "--results" in said


def test_full_disk_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # a mock: no disk here can be filled on purpose
    monkeypatch.setattr("bench.runner.command.shutil.disk_usage", lambda path: _Usage(1000))
    said = complaint(capsys, monkeypatch, "run", "antispoof", "--results", tmp_path)
    assert "0 MB left" in said


def test_damage_of_a_corpus_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_asvspoof(tmp_path / "LA")
    run = ("run", "antispoof", "--data", tmp_path, "--results", tmp_path / "results")
    audio = next((tmp_path / "LA" / "ASVspoof2019_LA_dev" / "flac").iterdir())
    audio.write_bytes(b"no audio")
    assert str(audio) in complaint(capsys, monkeypatch, *run)
    protocol = next((tmp_path / "LA" / "ASVspoof2019_LA_cm_protocols").glob("*train*"))
    protocol.write_text(protocol.read_text() + "LA_0001 LA_T_1 bonafide\n")
    said = complaint(capsys, monkeypatch, *run)
    assert protocol.name in said and "line 3: " in said and "expected 5 fields" in said


def test_a_comparison_that_cannot_begin_leaves_no_thread_behind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that still imports MLflow changes the filters of warnings under whatever the process does next."""
    monkeypatch.setattr("bench.runner.command.LocalExecutor", lambda jobs, screen, *_: Here(jobs, screen))
    asked = ("--preset", "smoke", "--methods", "uniform_width", "--budgets", "0.0001", "--results", tmp_path)
    assert "no choice of widths reaches it" in complaint(capsys, monkeypatch, "run", "synthetic", *asked)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("mlflow")]


def test_the_comparison_that_a_report_shows_is_not_changed_under_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "vad" / "quick" / "comparisons" / "1.json"
    kept.parent.mkdir(parents=True)
    kept.write_text('{"setting": {"fields": {"model": "crnn"}}}')
    with sole_supervisor(tmp_path):
        said = complaint(capsys, monkeypatch, "report", "vad", "--model", "crnn", "--results", tmp_path)
    assert "in use by process" in said
    assert not (tmp_path / "vad" / "quick" / "comparison.json").exists()


def test_values_of_set_have_the_types_of_the_fields(tmp_path: Path) -> None:
    fields = {"utterances": [20, 20, 20], "seconds": 1, "width": 4}
    request, _ = command.checked(Request("antispoof", "smoke", ("dense",), tmp_path, 1, fields=fields))
    assert request.fields == {"utterances": (20, 20, 20), "seconds": 1.0, "width": 4}
    assert isinstance(request.fields["seconds"], float)  # 1 and 1.0 are one corpus, not two


def test_a_method_named_twice_is_one_method(tmp_path: Path) -> None:
    request, _ = command.checked(Request("antispoof", "smoke", ("dense", "uniform_width", "dense"), tmp_path, 1))
    assert request.methods == ("dense", "uniform_width")


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


RUN = (
    "import sys; sys.argv = ['bench', {argument!r}]; from bench.cli import main\ntry: main()\nexcept SystemExit: pass\n"
)
CHECK = "loaded = set({modules!r}) & set(sys.modules)\nassert not loaded, loaded"


@pytest.mark.parametrize(
    ("argument", "modules", "shown"),
    [
        ("--help", ("torch", "mlflow", "optuna", "pandas", "seaborn", "numpy"), ("run", "report", "list")),
        ("list", ("torch", "mlflow", "tasks.antispoof", "methods.dense"), ("antispoof", "feature_noise")),
    ],
)
def test_light_commands_import_nothing_heavy(argument: str, modules: tuple[str, ...], shown: tuple[str, ...]) -> None:
    code = RUN.format(argument=argument) + CHECK.format(modules=modules)
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout
    assert all(word in said for word in shown)


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Request:
    """The request that the command line makes of these arguments."""
    requests: list[Request] = []
    monkeypatch.setattr("bench.runner.command.run", requests.append)
    monkeypatch.setattr(sys, "argv", ["bench", "run", "vad", *arguments])
    with suppress(SystemExit):
        cli.main()
    (request,) = requests
    return request


def test_a_request_without_options_leaves_all_to_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("BENCH_RESULTS", raising=False)
    expected = Request("vad", "quick", (), Path("results"), len(os.sched_getaffinity(0)))
    assert asked(monkeypatch, "--device", "cpu") == expected


def test_every_option_is_in_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    where = ("--results", "/r", "--jobs", "3", "--tracking-uri", "sqlite:///x.db", "--trial-timeout", "60")
    what = ("--preset", "smoke", "--methods", "dense; feature_noise:form=literal,window=1", "--budgets", "0.5, 0.25")
    size = ("--trials", "6", "--seeds", "2", "--widths", "conv,head", "--width-multiple", "8")
    task = ("--model", "crnn", "--data", "/d", "--set", "corpus_seed=1", "--set", "noise=/n=1")
    machine = ("--device", "cpu", "--precision", "bf16", "--executor", "ray", "--address", "h:1", "--gpus", "0.5")
    assert asked(monkeypatch, *where, *what, *size, *task, *machine) == Request(
        "vad",
        "smoke",
        ("dense", "feature_noise:form=literal,window=1"),
        Path("/r"),
        3,
        "sqlite:///x.db",
        budgets=(0.5, 0.25),
        trials=6,
        seeds=2,
        fields={"corpus_seed": 1, "noise": "/n=1", "model": "crnn", "data": "/d"},
        width_multiple=8,
        width_groups=("conv", "head"),
        hardware=Hardware("cpu", "bf16"),
        trial_timeout_s=60.0,
        cluster=Cluster("h:1", 1.0, 0.5),
    )
