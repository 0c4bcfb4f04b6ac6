"""The comparison report: points.csv, report.html, report.md, front.svg."""

from pathlib import Path

from bench.results.points import Points, load_points
from bench.storage.files import write_whole


def write_report(folder: Path) -> Points:
    """Write the report of a comparison from its tracked points, beside them.

    Raises:
        BenchError: nothing has been run there.
    """
    points = load_points(folder)
    write_whole(folder / "points.csv", points.table.to_csv(index=False))
    # seaborn takes seconds to import, which those who only need an answer should not wait for
    from bench.report.figures import AXES, front_figure
    from bench.report.findings import find
    from bench.report.html import render_html
    from bench.report.markdown import render_markdown
    from bench.report.svg import standalone

    fronts = {axis.column: front_figure(points, axis) for axis in AXES}
    findings = find(points)
    write_whole(folder / "report.html", render_html(points, fronts, findings))
    write_whole(folder / "report.md", render_markdown(points, findings))
    first = fronts[AXES[0].column]
    if first is None:
        (folder / "front.svg").unlink(missing_ok=True)  # of an earlier run, which is no longer this one's
    else:
        write_whole(folder / "front.svg", standalone(first))
    return points
