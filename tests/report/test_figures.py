"""Which figures are drawn, and what stands in them."""

import json
import re
from pathlib import Path

from bench.report import write_report
from bench.report.drawing import blank_figure, camp_colours, style, to_svg
from bench.report.figures import attainment_figure, breakdown_figure, draw_figures
from bench.report.speed_figures import layers_figure
from bench.trial.record import TrialFolder
from tests.report.cases import read
from tests.written import Written

FIGURES = {"cost_ratio", "latency_ratio", "size_bytes", "attainment", "speedup", "breakdown"}


def test_every_method_with_seeds_has_a_panel_and_every_camp_a_band(written: Written) -> None:
    for number in range(3):
        for seed in range(2):
            written.add(f"method_{number}", 0.5, 12.0, 12.0 + number + seed, seed=seed)
    data = write_report(written.save())
    assert attainment_figure(data) is not None
    band = data.bands["method_0"]
    assert (band.best.scores, band.median.scores, band.worst.scores) == ((12.0,), (12.0,), (13.0,))
    assert list(data.camp_bands) == ["in-training"] and data.camp_bands["in-training"].best.scores == (12.0,)
    assert "all in-training" in draw_figures(data)["cost_ratio"]
    assert 'id="attainment"' in (written.folder / "report.html").read_text()


def test_a_method_looks_the_same_in_every_figure_and_a_camp_has_its_colours(written: Written) -> None:
    written.add("first", 0.5, 12.0, 13.0, latency=False)
    written.add("second", 0.5, 12.0, 14.0)
    written.add("third", 0.5, 12.0, 14.0, stage="post_hoc")
    drawn, shades = draw_figures(read(written.save())), camp_colours("in-training", 2)
    assert len({*shades, *camp_colours("post-hoc", 2)}) == 4
    found = [set(re.findall("|".join(shades), drawn[name])) for name in ("cost_ratio", "latency_ratio", "speedup")]
    assert found == [{*shades}, {shades[1]}, {shades[1]}]


def test_a_collapsed_point_does_not_set_the_scale(written: Written) -> None:
    for number, score in enumerate((10.0, 11.0, 12.0, 13.0, 49.0)):
        written.add(f"method_{number}", 0.5, score, score)
    collapsed = draw_figures(read(written.save()))["cost_ratio"]
    assert ">20<" in collapsed and ">50<" not in collapsed


def test_a_collapsed_seed_does_not_set_the_scale(written: Written) -> None:
    for seed, score in enumerate((10.0, 10.0, 10.0, 10.0, 10.0, 49.0)):  # the mean is not far off
        written.add("first", 0.5, score, score, seed=seed)
        written.add("second", 0.25, 12.0, 12.0, seed=seed)
    drawn = draw_figures(read(written.save()))["cost_ratio"]
    assert ">20<" in drawn and ">50<" not in drawn


def test_figures_are_drawn_only_where_there_is_something_to_draw(built: Path, written: Written) -> None:
    assert set(draw_figures(read(built))) == FIGURES
    assert draw_figures(read(written.save())) == {}


def test_predicted_costs_are_drawn_against_measured_ones(written: Written) -> None:
    written.index["setting"]["cost"] = "latency"
    written.index["predicted"] = {"float models": [[0.5, 0.49], [0.2, 0.21]], "quantization models": [[0.1, 0.1]]}
    written.add("magnitude_pruning", 0.5, 1, 5.0, seed=0)
    write_report(written.save())
    page = (written.folder / "report.html").read_text()
    assert 'id="prediction"' in page and "measured against predicted latency" in page
    assert "How well costs were predicted" in page and "quantization models" in page


def test_few_points_with_many_parts_have_room(written: Written) -> None:
    """Matplotlib warns where they have none, and warnings are errors here."""
    scores = {"eer_percent": 9.0, **{f"eer_percent/A{number:02}": 3.0 * number - 20 for number in range(7, 18)}}
    post_hoc = {"stage": "post_hoc"}
    for name, budget, more in (
        ("stochastic_gates:search_share=0.5", 0.16, {}),
        ("magnitude_pruning:dense_share=0.5", 0.16, post_hoc),
        ("dense", None, {"control": True}),
        ("uniform_width", 0.16, {"control": True}),
        ("random_pruning:dense_share=0.5", 0.16, {"control": True, **post_hoc}),
    ):
        trial = written.add(name, budget, 9.0, 9.0, **more)  # type: ignore[arg-type]
        (trial / "eval.json").write_text(json.dumps(scores))
    assert ">A17<" in str(breakdown_figure(read(written.save())))


def test_few_parts_behind_long_names_have_room(written: Written) -> None:
    own = "given_widths:budget=0.9,widths=students.0.0=16 students.1.0=12 students.2.0=6"
    trial = written.add(own, 0.9, 9.0, 9.0, control=True)
    (trial / "eval.json").write_text(json.dumps({"eer_percent": 9.0, "eer_percent/A07": 3.0}))
    assert ">A07<" in str(breakdown_figure(read(written.save())))


def test_parts_of_the_network_have_a_bar_for_each_point(written: Written) -> None:
    assert "layers" not in draw_figures(read(written.save()))
    for budget in (0.5, 0.25):
        files = written.add("feature_noise", budget, 9.0, 9.0)
        TrialFolder(files).write_layer_latency_ms({"stem": 1.0, "body": 2.0})
    svg = str(layers_figure(read(written.save())))
    assert all(f">{text}<" in svg for text in ("stem", "body", "feature_noise  50 %", "feature_noise  25 %"))
    assert "Where the time goes" in (write_report(written.folder).points.folder / "report.html").read_text()


def test_what_a_figure_shows_is_escaped_for_those_who_cannot_see_it() -> None:
    with style():
        svg = to_svg(blank_figure(1, 1), "x", 'parts of "<b>"')
    assert 'aria-label="parts of &quot;&lt;b&gt;&quot;"' in svg
