"""MLflow: one flat run for every trial and one for the report, all of one comparison in one experiment."""
