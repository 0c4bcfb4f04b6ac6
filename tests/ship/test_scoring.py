"""`bench score`: a table or a file of scores, recordings of any rate, and what cannot be scored."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from bench.errors import BenchError
from bench.export.model import OnnxModel, Predictor
from bench.ship.scoring import Scorer, score_files
from tasks.antispoof import Antispoof
from tests.conftest import SmokeRun
from tests.ship.conftest import eval_corpus


@pytest.fixture(scope="module")
def model(exported: dict[str, Path]) -> Path:
    return exported["feature_noise"]


def sound(path: Path, seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal((int(seconds * rate), channels))
    soundfile.write(path, noise, rate, subtype="PCM_16")
    return path


def test_a_folder_is_scored_as_the_harness_does(smoke: SmokeRun, model: Path, tmp_path: Path) -> None:
    task = Antispoof.at("smoke", cache=smoke.results / "cache")
    score_files(model, [eval_corpus(smoke)], tmp_path / "scores.csv")
    expected = task.item_scores(Predictor(OnnxModel((model / "model.onnx").read_bytes())), "eval").scores
    table = pd.read_csv(tmp_path / "scores.csv")
    assert list(table.columns) == ["file", "second", "score"] and table["file"].is_monotonic_increasing
    np.testing.assert_allclose(table["score"], expected, rtol=0, atol=1e-5)


def test_other_rates_and_channels_are_treated_as_in_training_and_said(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # long paths are folded
    sound(tmp_path / "plain.wav")
    sound(tmp_path / "fast.flac", rate=48_000)
    sound(tmp_path / "two.wav", channels=2)
    score_files(model / "scorer.onnx", [Path()], None)
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("plain.wav", "fast.flac", "two.wav"))
    assert "1 of 3 files: resampled to 16000 Hz, as in training" in shown
    assert "1 of 3 files: made one channel, the mean of all, as in training" in shown


def test_what_cannot_be_scored_is_named_and_the_rest_is_scored(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    sound(folder / "good.wav")
    sound(folder / "short.wav", seconds=0.02)
    sound(folder / "silent.wav", seconds=0)
    (folder / "broken.wav").write_text("no sound")
    soundfile.write(folder / "wild.wav", np.full(800, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(BenchError) as raised:
        score_files(model, [folder], tmp_path / "scores.csv")
    said = str(raised.value)
    assert "broken.wav cannot be read: expected WAV" in said and "4 of 5 files could not be scored" in said
    assert "short.wav is too short: it lasts 20 ms, expected at least 25 ms" in said
    assert "silent.wav" in said and "wild.wav gives scores that are not finite" in said
    assert pd.read_csv(tmp_path / "scores.csv")["file"].tolist() == [str(folder / "good.wav")]


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (("nowhere.wav",), r"nowhere\.wav does not exist: expected a recording, or a folder of them"),
        (("empty",), r"no file in .*empty can be scored by .*scorer\.onnx: expected .*\.wav"),
        (("array.npy",), r"array\.npy is an array, but .*scorer\.onnx takes recordings"),
    ],
)
def test_nothing_to_score_is_said(model: Path, tmp_path: Path, paths: tuple[str, ...], said: str) -> None:
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(BenchError, match=said):
        score_files(model, [tmp_path / path for path in paths], None)


def test_a_model_that_is_none_is_said(model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(BenchError, match=r"text\.onnx is no ONNX model that ONNX Runtime can load"):
        Scorer(tmp_path / "text.onnx")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BenchError, match=r"no model in .*: expected a folder that `bench export` has written"):
            Scorer(path)


def test_the_network_alone_takes_arrays(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(model / "model.onnx", tmp_path)
    np.save(tmp_path / "a.npy", np.zeros((2, 60, 100)))
    score_files(tmp_path, [tmp_path], tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table.columns) == ["file", "row", "output 0", "output 1"] and len(table) == 2
    score_files(tmp_path, [tmp_path / "a.npy"], None)
    assert f"{table['output 0'].iloc[0]:.6g}" in capsys.readouterr().out
    np.save(tmp_path / "b.npy", np.zeros((2, 61, 100)))
    (tmp_path / "c.npy").write_text("")
    for name, said in (
        ("b.npy", "b.npy does not fit"),
        ("c.npy", "cannot be read as an array"),
        ("d.wav", "takes arrays"),
    ):
        if name == "d.wav":
            sound(tmp_path / name)
        with pytest.raises(BenchError, match=said):
            score_files(tmp_path, [tmp_path / name], None)
