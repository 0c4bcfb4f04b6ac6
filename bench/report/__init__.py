"""The report of a comparison: points.csv, report.html, report.md, front.svg, attribution.svg."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.results.points import load_points
from bench.storage.files import write_whole

if TYPE_CHECKING:
    from bench.report.data import ReportData


def write_report(folder: Path) -> ReportData:
    """Write the report of a comparison from its tracked points, beside them.

    Returns:
        Everything that was computed for it.

    Raises:
        BenchError: nothing has been run there.
    """
    points = load_points(folder)
    write_whole(folder / "points.csv", points.table.to_csv(index=False))
    # seaborn takes seconds to import, which those who only need an answer should not wait for
    from bench.report.data import report_data
    from bench.report.document import render_html, render_markdown
    from bench.report.drawing import standalone
    from bench.report.figures import draw_figures
    from bench.report.pointing import unlinked
    from bench.report.sections import report_sections
    from bench.results.selection import COST

    data = report_data(points)
    drawn = draw_figures(data)
    sections = report_sections(data, drawn)
    title = f"{points.title}: compressed while training, or afterwards?"
    write_whole(folder / "report.html", render_html(title, sections))
    write_whole(folder / "report.md", render_markdown(sections))
    for name, figure in {"front.svg": COST, "attribution.svg": "attribution"}.items():
        if figure in drawn:
            write_whole(folder / name, standalone(unlinked(drawn[figure])))
        else:
            (folder / name).unlink(missing_ok=True)  # of an earlier report, which is no longer this one's
    return data
