"""What the pages take from the code and from the kept results: ``python docs/pages.py`` writes it into them.

On the page of a method that is what stands behind ``<!-- about -->``, ``<!-- knobs -->`` and ``<!-- measured -->``, up
to the next ``<!-- end -->``; ``<!-- methods -->`` is the table of all of them. MkDocs calls the functions ``on_*`` (its
hooks) and fills them in anew, so that what is built cannot be stale; a test tells when the files are. A fence of the
kind ``math`` holds LaTeX and becomes MathML, which browsers draw by themselves.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import latex2mathml.converter
import pandas as pd
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from bench.plugins import registry
from bench.plugins.method import Method, MethodSpec, Tunable

ROOT = Path(__file__).parent.parent
KEPT = "results/reference"
#: pages that are files of the repository, and files that pages show
BORROWED = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "kept_results.md": f"{KEPT}/README.md",
    "feature_noise_validation.md": f"{KEPT}/feature_noise_validation.md",
    "budgeted_broadcast_measured.md": f"{KEPT}/budgeted_broadcast.md",
}
#: of the comparisons of Budgeted Broadcast, beside that of the preset
ZEROS = (
    '--seeds 3 --trials 1 --methods "dense;unstructured_pruning;budgeted_broadcast;budgeted_broadcast:taps=true;'
    'budgeted_broadcast:rule=magnitude;budgeted_broadcast:rule=magnitude,taps=true;uniform_width"'
)
#: those of the kept run of the CRNN; `full` has had magnitude pruning at each share of the steps since
CRNN_METHODS = (
    "dense;uniform_width;given_widths;feature_noise;stochastic_gates;group_norm;budgeted_broadcast;"
    "budgeted_broadcast_units;magnitude_pruning;magnitude_pruning:dense_share=0.25;magnitude_pruning:dense_share=0.5;"
    "random_pruning;random_pruning:dense_share=0.25;random_pruning:dense_share=0.5;quantization;"
    "random_pruning:dense_share=0.75"
)
#: the kept comparisons: what each is called, and the commands that made it; a page shows the first of each kind of data
COMPARISONS = {
    "antispoof_quick": ("anti-spoofing, generated speech", "make bench TASK=antispoof"),
    "antispoof_full": ("anti-spoofing, generated speech, 1,000 steps, tuned", "make bench TASK=antispoof PRESET=full"),
    "vad_quick": (
        "voice activity detection, generated speech",
        "make bench TASK=vad\nbench run vad --methods dense,magnitude_pruning+quantization",
    ),
    "vad_full": ("voice activity detection, generated speech, 400 steps, tuned", "make bench TASK=vad PRESET=full"),
    "vad_crnn_full": (
        "voice activity detection with the CRNN, generated speech, 400 steps, tuned",
        f'make bench TASK=vad PRESET=full MODEL=crnn METHODS="{CRNN_METHODS}"',
    ),
    "asr_quick": ("speech recognition, generated speech, tuned", "bench run asr --seeds 6 --trials 5"),
    "faces_quick": ("face identification, generated faces", "bench run faces --seeds 6"),
    "antispoof_distilled_macs": (
        "anti-spoofing, learning from the dense model, equal training MACs",
        "bench run antispoof --distill --effort macs --budgets 0.16 --trials 4 --methods dense,uniform_width,"
        "magnitude_pruning:dense_share=0.5,stochastic_gates:search_share=0.5,random_pruning:dense_share=0.5",
    ),
    "vad_distilled_macs": (
        "voice activity detection, learning from the dense model, equal training MACs",
        'bench run vad --preset full --distill --effort macs --budgets 0.256 --methods "dense;uniform_width;'
        "magnitude_pruning:dense_share=0.25;stochastic_gates;feature_noise;random_pruning:dense_share=0.25;"
        'random_pruning"',
    ),
    "antispoof_latency": (
        "anti-spoofing, generated speech, budgets in latency",
        "bench run antispoof --cost latency --budgets 0.55,0.4,0.3,0.22 --trials 1 --methods "
        "dense,uniform_width,magnitude_pruning,stochastic_gates",
    ),
    "asr_broadcast": (
        "speech recognition, generated speech",
        f"bench run asr\nbench run asr --budgets 0.25,0.0625 {ZEROS}",
    ),
    "faces_broadcast": (
        "face identification, generated faces",
        f"bench run faces\nbench run faces --budgets 0.25 {ZEROS}",
    ),
    "synapses_broadcast": (
        "synaptic clefts, generated volumes",
        f"bench run synapses\nbench run synapses --budgets 0.25,0.0625 {ZEROS}",
    ),
}
CAMPS = {"in_training": "in training", "post_hoc": "post-hoc"}
SMALLER = {
    "structure": "the structure: fewer or thinner layers, which every runtime is faster for",
    "front": "the structure, of the models of all budgets at once",
    "mask": "the number of non-zero weights; no runtime here is faster for it",
    "bits": "the bits of numbers",
}
SHARES = {"MACs": "macs_ratio", "non-zero MACs": "effective_macs_ratio", "latency": "latency_ratio"}
#: in a page, what is taken from elsewhere
PLACE = re.compile(r"^(<!-- (\w+) -->)$.*?^(<!-- end -->)$", re.MULTILINE | re.DOTALL)
MEASURED = ["method", "budget", "eval, %", *(f"{cost} share" for cost in SHARES), "file, kB"]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Formulas become MathML; the pages of methods enter the navigation by themselves."""
    fences = [{"name": "math", "class": "math", "format": formula}]
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": fences}
    for section in config.nav or []:
        if "Methods" in section:
            section["Methods"] += [{name: f"methods/{name}.md"} for name in sorted(registry.files("methods"))]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Files of the repository that are pages, and the kept figures and tables."""
    kept = {f"reference/{path.name}": path for path in sorted((ROOT / KEPT).iterdir()) if path.suffix != ".md"}
    for name, path in {**{page: ROOT / own for page, own in BORROWED.items()}, **kept}.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The text of a page with everything filled in, its links to the repository turned to pages."""
    place = page.file.src_uri
    markdown, top = filled(markdown, page.file.name), "../" * place.count("/")  # of the documentation, from this page
    for built, path in {**BORROWED, "reference/": f"{KEPT}/"}.items():
        markdown = markdown.replace(f"](../{top}{path}", f"]({top}{built}")
    if BORROWED.get(place, "").startswith(KEPT):  # where its pictures lie beside it
        markdown = re.sub(r"\]\((\w+\.svg)\)", r"](reference/\1)", markdown)
    return markdown


def filled(markdown: str, method: str) -> str:
    """The text of a page, what it takes from elsewhere made anew."""
    made = {"about": about, "knobs": knobs, "measured": measured, "methods": lambda _: overview()}
    return PLACE.sub(lambda found: f"{found[1]}\n\n{made[found[2]](method)}\n\n{found[3]}", markdown)


def about(name: str) -> str:
    """When a method acts, and what it makes smaller."""
    method = registry.load_method(name)
    camp = f"control, {CAMPS[method.stage]}" if method.control else CAMPS[method.stage]
    smaller = "nothing" if method.control and name == "dense" else SMALLER[method.promises]
    last = " It makes the file itself, so it ends a chain." if method.terminal else ""
    return f"**Acts** {camp}. **Makes smaller** {smaller}.{last}\n\n> {summary(method)}"


def summary(method: type[Method]) -> str:
    """The first line of a method's docstring."""
    return (method.__doc__ or "").split("\n")[0]


def knobs(name: str) -> str:
    """The settings of a method: default and the range that is searched."""
    method = registry.load_method(name)
    spec = MethodSpec(name, name, (method,), {})
    space, defaults = spec.space(), spec.defaults()
    values = {f.name: f.default for f in fields(method)} | defaults
    rows = [[f"`{own}`", _value(value), _range(space.get(own))] for own, value in values.items()]
    return table(["setting", "default", "searched in"], rows)


def _value(value: Any) -> str:
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if str(value) else "empty"


def _range(space: Tunable | None) -> str:
    if space is None:
        return "fixed"
    if space.choices is not None:
        return ", ".join(map(_value, space.choices))
    return f"{_value(space.low)} to {_value(space.high)}" + ", logarithmic" * space.log


def measured(name: str) -> str:
    """What the kept results say of a method, each table with the command that made it."""
    parts: dict[str, str] = {}
    for kept, points in _kept().items():
        said, command = COMPARISONS[kept]
        own = points[points["chain"].str.split("+").map(lambda links: name in links)]
        if len(own) and said not in parts:
            dense = points.loc[points["chain"] == "dense", "eval"].mean()
            metric, link = points["metric"].iloc[0], f"[all points](../../{KEPT}/{kept}_points.csv)"
            head = (
                f"{said[0].upper()}{said[1:]}, {metric}, {own['seed'].nunique()} seeds; dense: {dense:.1f} % ({link})"
            )
            parts[said] = f"{head}, by\n\n```bash\n{command}\n```\n\n{table(MEASURED, list(_means(own)))}"
    if parts:
        note = "Means over seeds, in parentheses the lowest and the highest; shares are of the dense model."
        return "\n\n".join([*parts.values(), f"{note} Commits and machine: [Kept results](../../{KEPT}/README.md)."])
    command = f"bench run antispoof --methods dense,uniform_width,magnitude_pruning,{name}"
    return f"None of the kept results has this method. To measure it beside others:\n\n```bash\n{command}\n```"


@cache
def _kept() -> Mapping[str, pd.DataFrame]:
    """The chosen points of each kept comparison: ``chain`` is the method without settings, ``eval`` its ``metric``."""
    found = {}
    for name in COMPARISONS:
        points = pd.read_csv(ROOT / KEPT / f"{name}_points.csv")
        points = points[points["chosen"].astype(bool) & (points["status"] == "complete")]
        column = next(column for column in points if column.startswith("eval_"))
        metric = column.removeprefix("eval_").removesuffix("_percent").replace("_", " ").upper()
        named = {"metric": metric, "eval": points[column]}
        found[name] = points.assign(chain=points["method"].str.split(":").str[0], **named)
    return found


def _means(points: pd.DataFrame) -> Iterator[list[str]]:
    """One row of ``MEASURED`` for each method and budget, large budgets first."""
    ranked = points.sort_values(["method", "budget"], ascending=[True, False])
    for (method, budget), rows in ranked.groupby(["method", "budget"], dropna=False, sort=False):
        scores = rows["eval"]
        shares = ["" if pd.isna(mean) else f"{mean:.3f}" for mean in rows[[*SHARES.values()]].mean()]
        asked = "" if rows["budget"].isna().any() else f"{budget:.4g}"
        error = f"{scores.mean():.1f} ({scores.min():.1f} to {scores.max():.1f})"
        yield [f"`{method}`", asked, error, *shares, f"{rows['size_bytes'].mean() / 1000:.0f}"]


def overview() -> str:
    """All methods: where each acts, and the first line of its docstring, with links to their pages."""
    rows = []
    for name in sorted(registry.files("methods")):
        method = registry.load_method(name)
        camp = "control" if method.control else CAMPS[method.stage]
        rows.append([f"[`{name}`]({name}.md)", camp, method.promises, summary(method)])
    order = [*CAMPS.values(), "control"]
    return table(["method", "acts", "promises", "what it does"], sorted(rows, key=lambda row: order.index(row[1])))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def formula(source: str, language: str, css_class: str, options: Any, md: Any, **_: Any) -> str:
    """LaTeX as MathML, one formula a line."""
    lines = [latex2mathml.converter.convert(line, display="block") for line in source.splitlines() if line.strip()]
    return f'<div class="{css_class}">{"".join(lines)}</div>'


if __name__ == "__main__":
    for path in sorted((ROOT / "docs" / "methods").glob("*.md")):
        path.write_text(filled(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")
