"""The comparison report: points.csv, report.html, report.md."""

from pathlib import Path

from bench.points import Points, load_points


def write_report(folder: Path) -> Points:
    """Write the report of a comparison from its tracked points, beside them.

    Raises:
        BenchError: nothing has been run there.
    """
    points = load_points(folder)
    draft = folder / ".points.csv.draft"
    points.table.to_csv(draft, index=False)
    draft.replace(folder / "points.csv")
    return points
