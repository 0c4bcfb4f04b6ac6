"""A results folder as a run writes it, for tests of the report."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any

from bench.plugins.task import ItemScores
from bench.trial.record import TrialFolder

INDEX: dict[str, Any] = {
    "identity": "0123456789abcdef",
    "task": "antispoof",
    "preset": "quick",
    "metric": {"name": "eer", "unit": "percent", "direction": "minimize"},
    "work_unit": "second of audio",
    "budgets": [0.5, 0.25],
    "seeds": 2,
    "trials": 4,
    "setting": {
        **{"task": "antispoof", "data": "d1c2", "fields": {"data": "embedded"}},
        **{"plan": {"dense_steps": 525, "finetune_steps": 175}, "width_multiple": 1},
    },
    "provenance": {
        "command": "bench run antispoof --tracking-uri postgresql://me:secret@host/db",
        "commit": "abc",
        "packages": {"torch": "2.11.0"},
    },
    "methods": {},
}


class Written:
    """A results folder, written file by file as a run writes it."""

    def __init__(self, folder: Path, first_key: int = 1) -> None:
        self.folder, self.index = folder, copy.deepcopy(INDEX)
        self._keys = (f"{n:016x}" for n in itertools.count(first_key))

    def add(
        self,
        method: str,
        budget: float | None,
        dev: float,
        evals: float | None,
        *,
        seed: int = 0,
        stage: str = "in_training",
        control: bool = False,
        macs: float | None = None,
        effective: float | None = None,
        latency: bool = True,
        chosen: bool = True,
        trial: int | None = None,
        items: ItemScores | None = None,
        **record: Any,
    ) -> Path:
        """One trial, chosen unless it is said otherwise."""
        entry = self.index["methods"].setdefault(method, {"stage": stage, "control": control, "trials": []})
        key, share = next(self._keys), macs or budget or 1.0
        number = int(8 * (budget or 1)) if trial is None else trial
        same = {"trial": number, "role": "search", "settings": {"budget": budget}}
        entry["trials"].append({"key": key, "seed": seed, "budget": budget, "chosen": chosen, **same})
        files = self.folder / "trials" / key
        files.mkdir(parents=True)
        content = {
            "trial.json": {
                "status": "complete", "reason": "", "dense_macs": 1000, "macs": int(1000 * share), "macs_ratio": share,
                "effective_macs": int(1000 * (effective or share)), "bops": 9, "params": 77, "size_bytes": 315_267,
                "train_steps": 175, "total_steps": 700, "cpu_s": 12.5, "peak_memory_mb": 700.0,
                "dev": {"eer_percent": dev}, "start": {"eer_percent": 12.8} if stage == "post_hoc" else None,
                "dense_share": 0.75 if stage == "post_hoc" else None, **record,
            },
            "eval.json": {"eer_percent": evals, "eer_percent/A07": 3.0, "eer_percent/A08": evals} if evals else None,
            "latency.json": {
                "latency_ms": 0.1, "latency_ratio": share**0.5, "latency_spread": 0.006,
                "latency_wall_ms": 0.11, "latency_p95_ms": 0.13, "latency_chunk_ms": 0.03,
                "latency_chunk_ratio": share**0.3, "latency_utterance_ms": 0.2, "latency_utterance_ratio": share**0.7,
                "latency_eager_ms": 0.9, "latency_eager_ratio": share**0.2,
            } if latency else None,
            "tracked.json": {"run_id": f"run{key}"},
        }  # fmt: skip
        for name, value in content.items():
            if value is not None:
                (files / name).write_text(json.dumps(value))
        if items is not None:
            TrialFolder(files).write_item_scores(items)
        return files

    def save(self) -> Path:
        """Write the index, which makes the folder a comparison."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "comparison.json").write_text(json.dumps(self.index))
        return self.folder
