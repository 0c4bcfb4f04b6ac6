"""Which figures are drawn, and what stands in them."""

import re
from pathlib import Path

from bench.report import write_report
from bench.report.drawing import blank_figure, style, to_svg
from bench.report.figures import attainment_figure, draw_figures
from tests.report.cases import read
from tests.written import Written


def test_bands_stand_in_the_front_until_there_are_too_many_methods(written: Written) -> None:
    for number in range(7):
        assert number < 6 or attainment_figure(read(written.save())) is None
        for seed in range(2):
            written.add(f"method_{number}", 0.5, 12.0, 12.0 + number + seed, seed=seed)
    data = write_report(written.save())
    assert attainment_figure(data) is not None
    band = data.bands["method_0"]
    assert (band.best.scores, band.median.scores, band.worst.scores) == ((12.0,), (12.0,), (13.0,))
    assert 'id="attainment"' in (written.folder / "report.html").read_text()


def test_a_method_looks_the_same_in_every_figure(written: Written) -> None:
    written.add("first", 0.5, 12.0, 13.0, latency=False)
    written.add("second", 0.5, 12.0, 14.0)
    drawn = draw_figures(read(written.save()))
    colours = [set(re.findall("#0173b2|#de8f05", drawn[name])) for name in ("macs_ratio", "latency_ratio", "speedup")]
    assert colours == [{"#0173b2", "#de8f05"}, {"#de8f05"}, {"#de8f05"}]


def test_figures_are_drawn_only_where_there_is_something_to_draw(built: Path, written: Written) -> None:
    assert set(draw_figures(read(built))) == {"macs_ratio", "latency_ratio", "size_bytes", "speedup", "breakdown"}
    assert draw_figures(read(written.save())) == {}


def test_what_a_figure_shows_is_escaped_for_those_who_cannot_see_it() -> None:
    with style():
        svg = to_svg(blank_figure(1, 1), "x", 'parts of "<b>"')
    assert 'aria-label="parts of &quot;&lt;b&gt;&quot;"' in svg
