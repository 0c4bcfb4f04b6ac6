"""What the MLflow UI shows first: where to go, which columns, what is said above the runs."""

import json

from bench.points import Points

_VIEW = "bench"  # name of the prepared view
# MLflow 3 opens an experiment as one of language models, unless its address says that this is training
_TRAINING = "workflowType=machine_learning"


def experiment_address(experiment_id: str) -> str:
    """Where the UI shows the runs of an experiment, to be put behind the address of the server."""
    return f"/#/experiments/{experiment_id}/runs?{_TRAINING}&viewStateShareKey={_VIEW}"


def run_address(experiment_id: str, run_id: str) -> str:
    """Where the UI shows one run, to be put behind the address of the server."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{_TRAINING}"


def experiment_tags(points: Points) -> dict[str, str]:
    """The tags that the UI reads of an experiment: its description, and the view with the columns that matter."""
    columns = [f"metrics.`{name}`" for name in (points.eval_column, points.dev_column, "macs_ratio", "latency_ratio")]
    columns += [f"tags.`{name}`" for name in ("chosen", "stage", "budget", "seed", "status")]
    view = {
        "selectedColumns": ["attributes.`Duration`", *columns],
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
    }
    return {
        "mlflow.note.content": _describe(points.index["task"], points.index["preset"]),
        f"mlflow.sharedViewState.{_VIEW}": json.dumps(view),
    }


def _describe(task: str, preset: str) -> str:
    return f"""\
Every model that `bench run {task} --preset {preset}` trained is one run; the run named **report** holds the answer:
its artifacts are `front.svg`, `report.html` and `points.csv`.

- Filter by tags: `tags.chosen = "yes"` shows the models that the report compares, `tags.stage = "post_hoc"` one camp,
  and likewise `tags.method`, `tags.budget`, `tags.seed`, `tags.control`, `tags.status`, `tags.kind`.
- `dev_*` scores choose a trial; `eval_*` is read once, for chosen ones. `macs_ratio` and `latency_ratio` are shares of
  the dense model's. `train_loss` and `train_learning_rate` are curves by training step.
- A run starts and ends when its trial did. Failed trials are here too, with their `reason`.
"""
