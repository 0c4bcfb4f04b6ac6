"""What the points of figures say, and the command behind each."""

import html
import re
import shlex
from pathlib import Path

from bench.report.figures import draw_figures
from bench.report.pointing import unlinked
from tests.report.cases import read
from tests.written import Written

POINT = re.compile(r'<a href="#points" class="point" aria-label="([^"]*)" data-command="([^"]*)">')


def points(svg: str) -> list[tuple[list[str], str]]:
    return [(html.unescape(said).split("\n"), html.unescape(command)) for said, command in POINT.findall(svg)]


def test_every_point_says_its_method_budget_seeds_and_figures(written: Written) -> None:
    for seed in (0, 1):
        written.add("feature_noise", 0.5, 11.0 - seed, 13.0 + seed, seed=seed)
    written.add("a<b>&", 0.25, 12.0, 15.0, stage="post_hoc")
    drawn = draw_figures(read(written.save()))
    best = written.index["methods"]["feature_noise"]["trials"][1]["key"]
    for figure in ("cost_ratio", "latency_ratio", "size_bytes", "speedup"):
        found = {said[0]: (said, command) for said, command in points(drawn[figure])}
        assert set(found) == {
            "feature_noise (in-training), budget 50 % of compute",
            "a<b>& (post-hoc), budget 25 % of compute",
        }
        said, command = found["feature_noise (in-training), budget 50 % of compute"]
        assert said[1:] == [
            "seeds 0, 1",
            "EER % on eval 13.5 ± 0.7, on dev 10.5",
            "50.00 % of the MACs, 500 MACs, 77 parameters, 315 kB, 0.100 ms",
            "click: how to export the model of seed 1, the best on dev",
        ]
        results = str(written.folder.parent.parent)
        expected = ["bench", "export", "antispoof", "--preset", "quick", "--trial", best, "--results", results]
        assert shlex.split(command) == expected
    assert len(points(drawn["attainment"])) == 1  # of the method with bands


def test_a_point_of_trouble_says_so_and_one_without_a_model_leads_nowhere(built: Path) -> None:
    said = {own[0].split(" ")[0]: own for own, _ in points((built / "report.html").read_text())}
    assert "a seed failed or missed the budget" in said["_late"] and "broken" not in said


def test_a_file_of_its_own_has_no_spots(built: Path) -> None:
    assert "<a " not in (built / "front.svg").read_text()
    assert unlinked('<g><a href="#points" class="point" aria-label="x">\n<path/>\n</a>\n<use/></g>') == "<g><use/></g>"
