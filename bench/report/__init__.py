"""The comparison report: points.csv, report.html, report.md, front.svg."""

from pathlib import Path

from bench.points import Points, load_points


def write_report(folder: Path) -> Points:
    """Write the report of a comparison from its tracked points, beside them.

    Raises:
        BenchError: nothing has been run there.
    """
    points = load_points(folder)
    _write(folder / "points.csv", points.table.to_csv(index=False))
    # seaborn takes seconds to import, which those who only need an answer should not wait for
    from bench.report.figures import AXES, front_figure
    from bench.report.findings import find
    from bench.report.html import render_html
    from bench.report.markdown import render_markdown
    from bench.report.svg import standalone

    fronts = {axis.column: front_figure(points, axis) for axis in AXES}
    findings = find(points)
    _write(folder / "report.html", render_html(points, fronts, findings))
    _write(folder / "report.md", render_markdown(points, findings))
    first = fronts[AXES[0].column]
    if first is None:
        (folder / "front.svg").unlink(missing_ok=True)  # of an earlier run, which is no longer this one's
    else:
        _write(folder / "front.svg", standalone(first))
    return points


def _write(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
