"""What MLflow is told."""

from bench.tracking import _metric_names


def test_breakdowns_of_any_name_become_names_that_mlflow_allows() -> None:
    names = {"dev_eer_percent/<5 dB": 1.0, "dev_eer_percent/>=25 dB": 2.0, "a+b": 3.0, "odd(%)": 4.0}
    assert _metric_names(names) == {
        "dev_eer_percent/below 5 dB": 1.0, "dev_eer_percent/from 25 dB": 2.0, "aplusb": 3.0, "odd___": 4.0,
    }  # fmt: skip
