"""An exported folder: its files score as the harness does, its card says what they are, and what cannot be exported."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from bench import cli, load_task, rebuilt_model
from bench.errors import BenchError
from bench.export.model import OnnxModel, Predictor
from bench.report.document import render_markdown
from bench.results.points import load_points
from bench.ship.card import card_sections
from bench.ship.export import write_export
from bench.ship.pick import find, named
from tasks.antispoof import Antispoof
from tasks.synthetic import Synthetic
from tests.conftest import SmokeRun
from tests.ship.conftest import METHODS, choice_of, eval_corpus
from tests.written import Written

MODELS = {"MODEL_CARD.md", "model.onnx", "score.py"}
CLOSE = 1e-5


def task_of(smoke: SmokeRun) -> Antispoof:
    return Antispoof.at("smoke", cache=smoke.results / "cache")


def script(folder: Path, *arguments: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """The exported script, in an environment that knows nothing of this project."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, folder / "score.py", *arguments]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)


def run(*arguments: str | Path) -> str:
    """The command in this process; what it prints."""
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_from_pick_to_scores_by_the_commands_that_are_printed(synthetic_smoke: SmokeRun, tmp_path: Path) -> None:
    where = ("synthetic", "--preset", "smoke", "--results", synthetic_smoke.results)
    said = run("pick", *where, "--max-macs-ratio", "0.5")
    assert "Eval is reported and decided nothing" in said and "MSE % on dev" in said
    (command,) = [line.removeprefix("take it home: bench ") for line in said.splitlines() if "take it home" in line]
    shown = run(*shlex.split(command), "--to", tmp_path / "home")
    assert "MODEL_CARD.md, model.onnx" in shown and "keep --max-macs-ratio 0.5; this one has the best" in shown
    module = rebuilt_model(load_task("synthetic").at("smoke"), tmp_path / "home")
    assert module is not None
    ends = f"in: input, (examples, length); out: output, (examples, {module(Synthetic().example_input()).shape[1]})"
    assert ends in (tmp_path / "home/MODEL_CARD.md").read_text()
    np.save(tmp_path / "inputs.npy", np.zeros((1, Synthetic().example_input().shape[1])))
    assert "outputs" in run("score", tmp_path / "home", tmp_path / "inputs.npy")
    assert "MSE % on dev" in run("export", *where, "--max-macs-ratio", "0.5", "--to", tmp_path / "home")


@pytest.mark.parametrize("method", METHODS)
def test_the_scorer_scores_recordings_as_the_harness_does(
    smoke: SmokeRun, exported: dict[str, Path], method: str
) -> None:
    task = task_of(smoke)
    model = OnnxModel((exported[method] / "model.onnx").read_bytes())
    expected = task.item_scores(Predictor(model), "eval").scores
    session = OnnxModel((exported[method] / "scorer.onnx").read_bytes()).session()
    paths = sorted(eval_corpus(smoke).glob("flac/*.flac"))
    found = [session.run(None, {"recording": soundfile.read(path)[0]})[0][0] for path in paths]
    assert len(found) == len(expected) > 50 and np.ptp(expected) > 1e-4
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE)


def test_the_script_scores_as_the_harness_does(smoke: SmokeRun, exported: dict[str, Path], tmp_path: Path) -> None:
    """Without this project: ONNX Runtime and NumPy are all that it imports beside Python's own modules."""
    folder, task = exported["feature_noise"], task_of(smoke)
    expected = task.item_scores(Predictor(OnnxModel((folder / "model.onnx").read_bytes())), "eval").scores
    (flac, *_) = sorted(eval_corpus(smoke).glob("flac/*.flac"))
    soundfile.write(tmp_path / "one.wav", *soundfile.read(flac), subtype="PCM_16")
    ran = script(folder, tmp_path / "one.wav", home=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert abs(float(ran.stdout.split()[-1]) - expected[0]) < CLOSE
    lines = (folder / "score.py").read_text().splitlines()
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported - sys.stdlib_module_names == {"numpy", "onnxruntime"} and len(list(filter(None, lines))) <= 25
    soundfile.write(tmp_path / "two.wav", np.zeros((800, 2)), 16_000, subtype="PCM_16")
    refused = script(folder, tmp_path / "two.wav", home=tmp_path)
    assert refused.returncode == 1 and "two.wav: expected 16000 Hz, one channel, 16 bits" in refused.stderr
    soundfile.write(tmp_path / "short.wav", np.zeros(10), 16_000, subtype="PCM_16")
    refused = script(folder, tmp_path / "short.wav", home=tmp_path)
    assert refused.returncode == 1 and "short.wav: expected" in refused.stderr and "400 samples" in refused.stderr
    assert "score.py FILE" in script(folder, home=tmp_path).stderr


def test_a_folder_holds_what_was_audited_and_says_so(smoke: SmokeRun, exported: dict[str, Path]) -> None:
    for method, folder in exported.items():
        choice = choice_of(smoke, method)
        trial = smoke.folder / "trials" / choice.key
        modules = set() if "quantization" in method else {"model.safetensors", "recipe.json"}
        assert {path.name for path in folder.iterdir()} == {*MODELS, "scorer.onnx", *modules}
        for name in {"model.onnx", *modules}:
            assert (folder / name).read_bytes() == (trial / name).read_bytes()
        card = (folder / "MODEL_CARD.md").read_text()
        digest = json.loads((smoke.folder / "comparison.json").read_text())["setting"]["data"]
        row = choice.row
        for said in (
            *(f"- digest: {digest}", f"- trial: {choice.key}", f"training steps: {row['train_steps']:.0f}"),
            *(
                f"{row['dev_eer_percent']:.1f}",
                f"{row['eval_eer_percent']:.1f}",
                "| A07 |",
                f"at most {100 * row['budget']:g} %",
            ),
            *("The smoke preset only checks", "The embedded data is generated", "fewer seeds (1)"),
            *("log odds of bona fide speech", "compression-bench ", "bench export antispoof --preset smoke"),
            *("arXiv 1712.05877",) * ("quantization" in method),
        ):
            assert said in card, said
        assert "no difference between its scores" in card


def test_a_task_without_recordings_gets_a_script_for_arrays(synthetic_smoke: SmokeRun, tmp_path: Path) -> None:
    folder = write_export(choice_of(synthetic_smoke, "uniform_width"), tmp_path / "home", {})
    assert {path.name for path in folder.iterdir()} == {*MODELS, "model.safetensors", "recipe.json"}
    session = OnnxModel((folder / "model.onnx").read_bytes()).session()
    inputs = np.random.default_rng(0).standard_normal((3, Synthetic().example_input().shape[1])).astype(np.float32)
    np.save(tmp_path / "inputs.npy", inputs)
    ran = script(folder, tmp_path / "inputs.npy", home=tmp_path)
    assert ran.returncode == 0, ran.stderr
    lines = [[float(word) for word in line.split()[1:]] for line in ran.stdout.splitlines()]
    np.testing.assert_allclose(lines, session.run(None, {"input": inputs})[0], atol=CLOSE)


def test_an_export_is_repeated_but_overwrites_nothing_else(synthetic_smoke: SmokeRun, tmp_path: Path) -> None:
    choice = choice_of(synthetic_smoke, "uniform_width")
    first = {path.name: path.read_bytes() for path in write_export(choice, tmp_path / "a", {}).iterdir()}
    assert {
        path.name: path.read_bytes() for path in write_export(choice, tmp_path / "a", {}).iterdir()
    }.keys() == first.keys()
    (tmp_path / "a" / "thesis.txt").write_text("mine")
    for taken in (tmp_path / "a", tmp_path / "a" / "thesis.txt"):
        with pytest.raises(BenchError, match="exists and holds other files: name another folder with --to"):
            write_export(choice, taken, {})


def test_a_folder_is_named_by_the_point(
    synthetic_smoke: SmokeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    choice = choice_of(synthetic_smoke, "uniform_width")
    folder = write_export(choice, None, {})
    assert (tmp_path / folder).is_dir() and str(folder) == f"synthetic-uniform_width-{choice.row['budget']:g}-seed0"


def test_a_file_that_has_changed_since_its_audit_is_not_exported(synthetic_smoke: SmokeRun, tmp_path: Path) -> None:
    folder = tmp_path / "synthetic" / "smoke"
    shutil.copytree(synthetic_smoke.folder, folder)
    key = choice_of(synthetic_smoke, "uniform_width").key
    with (folder / "trials" / key / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BenchError, match=f"trial {key} cannot be exported, as model.onnx is not the file"):
        write_export(named(load_points(folder), key), tmp_path / "home", {})
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("fields", "changes", "said"),
    [
        ({"width": 9}, {}, "--set width=9: the model was trained with 8, and folders alone move"),
        ({"widht": 9}, {}, r"no field 'widht' \(did you mean 'width'\?\)"),
        ({}, {"data": "data on disk"}, "was trained on a corpus of yours: name its folder again, --data DIR"),
        ({"data": "/no/such"}, {"data": "data on disk"}, "Corpus folder /no/such does not exist"),
        ({}, {"old": "1"}, "has no field 'old' any more"),
        ({}, {}, r"not the data that the model was trained on \(digest \w{16}, expected 0123\): name the folder with"),
    ],
)
def test_features_need_the_data_that_the_model_was_trained_on(
    smoke: SmokeRun, tmp_path: Path, fields: dict[str, object], changes: dict[str, str], said: str
) -> None:
    choice = choice_of(smoke, "feature_noise")
    choice.points.index["setting"]["fields"] |= changes
    choice.points.index["setting"]["data"] = "0123"
    with pytest.raises(BenchError, match=said):
        write_export(choice, tmp_path / "home", fields)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("kept", [True, False])
def test_an_export_leaves_no_trace_in_the_cache(smoke: SmokeRun, tmp_path: Path, kept: bool) -> None:
    """The notes of a copied cache have other times than its files; features that were removed are made again."""
    results = tmp_path / "results"
    shutil.copytree(smoke.results, results)
    if not kept:
        shutil.rmtree(next((results / "cache").glob("antispoof-dev-*")))
    run = SmokeRun(results, smoke.task, smoke.first)

    def state() -> dict[Path, tuple[int, int]]:
        found = {path: path.stat() for path in [results / "cache", *(results / "cache").rglob("*")]}
        return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}

    before = state()
    home = write_export(choice_of(run, "feature_noise"), tmp_path / "home", {})
    assert (home / "scorer.onnx").is_file() and state() == before


def test_a_model_that_was_never_chosen_has_a_card_that_says_so(tmp_path: Path) -> None:
    written = Written(tmp_path / "antispoof" / "quick")
    files = written.add("feature_noise", 0.5, 10.0, None, chosen=False, latency=False, notes=["a | note"])
    card = render_markdown(card_sections(find(written.save(), None, (), {"trial": files.name}), {}))
    assert "never scored on eval" in card and "a \\| note" in card and "Latency was measured" not in card
    assert "secret" not in card and "postgresql" in card
