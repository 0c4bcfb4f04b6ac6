"""Which Ray cluster, and what a trial has of it. Nothing of Ray is imported here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what a job has of one of its machines.

    Attributes:
        address: ``host:6379``, or ``auto`` for one that runs on this machine; None starts one of this machine alone, on
            the loopback interface.
        cpus: cores.
        gpus: graphics processors; a part of one lets several trials share it.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
