"""`bench doctor` says what is wrong and what to do; `bench --version` which version there is."""

import tomllib
from pathlib import Path

import onnxruntime
import pytest
import torch
import torchaudio

from bench import doctor
from bench.runner import command
from bench.storage.provenance import ABSENT, version_of
from tests.conftest import bench

ROOT = Path(__file__).parent.parent
RUNTIMES = ("ONNX Runtime", "OpenVINO")
OPENVINO = "pip install 'compression-bench[openvino]'"


def found(results: Path, tracking_uri: str | None = None) -> dict[str, doctor.Finding]:
    return {finding.about: finding for finding in doctor.findings(results, tracking_uri)}


def test_a_sound_installation_has_nothing_to_mend(tmp_path: Path) -> None:
    said = found(tmp_path / "results")
    assert [*said] == ["Python", "packages", "torchaudio", *RUNTIMES, "processor", "bf16", "GPU", "disk", "MLflow"]
    of_the_machine = {"processor", "bf16", "GPU"}
    assert not [str(finding) for about, finding in said.items() if finding.remedy and about not in of_the_machine]
    assert str(said["MLflow"]).startswith("ok   MLflow: sqlite:///") and not list(tmp_path.iterdir())


def test_what_is_wrong_is_a_warning_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "requires", lambda name: ["torch<1", "no-such-thing>=2", "ray>9; extra == 'ray'"])
    monkeypatch.setattr(torchaudio, "__version__", "2.8.0")
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *given, **options: 1 / 0)
    monkeypatch.setattr(doctor, "version_of", lambda name: ABSENT if name == "openvino" else version_of(name))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64"})
    monkeypatch.setattr(command, "ENOUGH_BYTES", 10**18)
    store = "postgresql+psycopg://me:secret@localhost:1/x"
    said = {about: str(finding) for about, finding in found(tmp_path, store).items()}
    assert f"torch is {version_of('torch')}, expected <1, no-such-thing is not installed," in said["packages"]
    assert "ray" not in said["packages"] and "pip install --upgrade compression-bench" in said["packages"]
    assert f"pip install torchaudio=={torch.__version__.partition('+')[0]}" in said["torchaudio"]
    assert "ZeroDivisionError" in said["ONNX Runtime"] and "install this package again" in said["ONNX Runtime"]
    assert said["OpenVINO"] == "ok   OpenVINO: not installed; for --runtime openvino: " + OPENVINO
    assert "weights of 7 bits" in said["processor"] and "would be slower here" in said["bf16"]
    assert "make room" in said["disk"]
    assert "cannot be used" in said["MLflow"] and "secret" not in said["MLflow"]
    assert all(line.startswith("warn ") for about, line in said.items() if about not in ("Python", "GPU", "OpenVINO"))


def test_the_version_stands_in_one_place() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    run = bench("--version")
    assert (run.code, run.output) == (0, f"compression-bench {version_of('compression-bench')}\n")
    assert (ROOT / "CHANGELOG.md").read_text().count(f"\n## {stated}") == 1
