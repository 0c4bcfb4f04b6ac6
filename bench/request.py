"""What a user asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.train import CPU, Hardware


@dataclass(frozen=True)
class Request:
    """What is to be compared, and how; None means as the preset has it."""

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
    width_groups: tuple[str, ...] = ()
    hardware: Hardware = CPU

    @property
    def folder(self) -> Path:
        """Where this comparison keeps its files."""
        return self.results / self.task / self.preset
