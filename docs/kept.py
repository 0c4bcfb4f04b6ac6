"""What the kept results say: the tables on the pages of methods, and all networks side by side."""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from bench.plugins import registry
from bench.report.drawing import FAINT, blank_figure, legend, standalone, style, ticks, to_svg
from bench.stats.estimates import mean_of

ROOT = Path(__file__).parent.parent
KEPT = "results/reference"
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
    "synthetic_quick": ("allocation over unequal branches, whose optimum is known", "make bench TASK=synthetic"),
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
Logarithms = NDArray[np.float64]
#: those that are put side by side: one for each network, and the smallest budget that says something about it
NETWORKS = {
    "antispoof_full": ("anti-spoofing, CNN", 1 / 16),
    "vad_full": ("voice activity, transformer", 1 / 16),
    "vad_crnn_full": ("voice activity, CRNN", 1 / 16),
    "asr_quick": ("speech recognition, transformer", 1 / 8),
    "faces_quick": ("faces, ResNet10", 1 / 16),
}
CAMPS = {"in_training": "in training", "post_hoc": "post-hoc"}
SHARES = {"MACs": "macs_ratio", "non-zero MACs": "effective_macs_ratio", "latency": "latency_ratio"}
MEASURED = ["method", "budget", "eval, %", *(f"{cost} share" for cost in SHARES), "file, kB"]


def measured(name: str) -> str:
    """What the kept results say of a method, each table with the command that made it."""
    parts: dict[str, str] = {}
    for kept, points in _kept().items():
        said, command = COMPARISONS[kept]
        own = points[points["chain"].str.split("+").map(lambda links: name in links)]
        if len(own) and said not in parts:
            dense = points.loc[points["chain"] == "dense", "score"].mean()
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
    """The chosen points of each kept comparison: ``chain`` is the method without settings, ``score`` that on eval.

    ``dev`` and ``eval`` are errors: what is missing to 100 % where a large score is good.
    """
    found = {}
    for name in COMPARISONS:
        points = pd.read_csv(ROOT / KEPT / f"{name}_points.csv")
        points = points[points["chosen"].astype(bool) & (points["status"] == "complete")]
        column = next(column for column in points if column.startswith("eval_"))
        metric = registry.load_task(points["task"].iloc[0]).metric
        errors = points[[column, column.replace("eval", "dev", 1)]].set_axis(["eval", "dev"], axis=1)
        errors = errors if metric.direction == "minimize" else 100 - errors
        chain = points["method"].str.split(":").str[0]
        found[name] = points.assign(chain=chain, metric=metric.title, score=points[column], **errors)
    return found


def _means(points: pd.DataFrame) -> Iterator[list[str]]:
    """One row of ``MEASURED`` for each method and budget, large budgets first."""
    ranked = points.sort_values(["method", "budget"], ascending=[True, False])
    for (method, budget), rows in ranked.groupby(["method", "budget"], dropna=False, sort=False):
        scores = rows["score"]
        shares = ["" if pd.isna(mean) else f"{mean:.3f}" for mean in rows[[*SHARES.values()]].mean()]
        asked = "" if rows["budget"].isna().any() else f"{budget:.4g}"
        error = f"{scores.mean():.1f} ({scores.min():.1f} to {scores.max():.1f})"
        yield [f"`{method}`", asked, error, *shares, f"{rows['size_bytes'].mean() / 1000:.0f}"]


def across() -> str:
    """What is lost of the dense model's score, network by network, as multiples of its error."""
    parts = []
    for said, errors in _by_network():
        camps = {f"**the best {camp}**": errors[camp] for camp in CAMPS.values()}
        sooner, later = camps.values()
        camps["**post-hoc over in training**"] = {kept: later[kept] - sooner[kept] for kept in NETWORKS}
        methods = {f"[`{name}`](methods/{name}.md)": of for name, of in errors.items() if name not in CAMPS.values()}
        rows = [
            [name, *map(_multiple, of.values()), _multiple(_over_all(of))] for name, of in (camps | methods).items()
        ]
        parts.append(f"{said}:\n\n{table(['', *(label for label, _ in NETWORKS.values()), 'all'], rows)}")
    return "\n\n".join(parts)


def _by_network() -> Iterator[tuple[str, dict[str, dict[str, Logarithms | None]]]]:
    """Two budgets, each with ``relative_errors`` by method and network: camps first, then those of least error."""
    for said, budgets in (
        ("At a quarter of the compute", dict.fromkeys(NETWORKS, 0.25)),
        ("At 1/16 of it (speech recognition: 1/8)", {kept: smallest for kept, (_, smallest) in NETWORKS.items()}),
    ):
        found = {kept: relative_errors(_kept()[kept], budget) for kept, budget in budgets.items()}
        # against the uniformly narrow network, as not all methods were run on all
        gains = pd.DataFrame(
            {k: {n: e.mean() - own["uniform_width"].mean() for n, e in own.items()} for k, own in found.items()}
        )
        common = gains[gains.notna().sum(axis=1) >= len(NETWORKS) - 1].mean(axis=1).sort_values().index
        camps = [*CAMPS.values()]
        yield (
            said,
            {name: {kept: own.get(name) for kept, own in found.items()} for name in (*camps, *common.drop(camps))},
        )


def _over_all(of: Mapping[str, Logarithms | None]) -> Logarithms | None:
    """The mean over networks, seed by seed, where all have been tried."""
    known = [own for own in of.values() if own is not None]
    return np.mean(known, axis=0) if len(known) == len(of) else None


def relative_errors(points: pd.DataFrame, budget: float) -> dict[str, Logarithms]:
    """Logarithm of the error on eval over that of dense, for each seed, of methods that remove structure, and of camps.

    Of several settings of a method, and of the methods of a camp, dev chooses.
    """
    dense = points[points["chain"] == "dense"].set_index("seed")["eval"]
    found: dict[str, tuple[float, Logarithms]] = {}
    for _, own in points[np.isclose(points["budget"].astype(float), budget)].groupby("method"):
        chain = str(own["chain"].iloc[0])
        if "+" in chain or registry.load_method(chain).promises != "structure" or len(own) < len(dense):
            continue
        ratios = np.log(own.set_index("seed")["eval"] / dense).to_numpy()
        for name in [chain] if own["control"].iloc[0] else [chain, CAMPS[own["stage"].iloc[0]]]:
            found[name] = min(found.get(name, (math.inf, ratios)), (own["dev"].mean(), ratios), key=itemgetter(0))
    return {name: ratios for name, (_, ratios) in found.items()}


def _multiple(logarithms: Logarithms | None) -> str:
    """Their mean and its interval, as a factor."""
    return "" if logarithms is None else "{:.2f} ({:.2f} to {:.2f})".format(*_factors(logarithms))


def _factors(logarithms: Logarithms) -> Logarithms:
    """Their mean and the ends of its interval, as factors: (3,)."""
    mean = mean_of(logarithms)
    return np.exp(np.array([mean.value, mean.low, mean.high], dtype=float))  # no interval is no number


def picture() -> str:
    """The multiples of :func:`across`, one colour a network."""
    with style():
        figure = blank_figure(9.5, 4.6)
        panels = figure.subplots(1, 2, sharey=True)
        colours = dict(zip(NETWORKS, sns.color_palette("colorblind", len(NETWORKS)), strict=True))
        found = [*_by_network()]
        rows = [*found[0][1]][::-1]
        labels = [f"the best {name}" if name in CAMPS.values() else name.replace("_", " ") for name in rows]
        for ax, (said, errors) in zip(panels, found, strict=True):
            for place, (kept, colour) in enumerate(colours.items()):
                for row, own in ((row, errors[name][kept]) for row, name in enumerate(rows)):
                    if own is not None:
                        (value, *ends), at = _factors(own), row + 0.15 * (2 - place)
                        ax.plot(ends, [at, at], color=colour, linewidth=1.2)
                        ax.plot(value, at, "o", color=colour, markersize=4.5)
            ax.axvline(1, color=FAINT)
            ax.set(title=said, xscale="log", xlabel="error, as a multiple of the dense model's")
            ticks(ax.xaxis, FixedLocator([1, 1.25, 1.5, 2, 3]), "{:g}".format)
            ticks(ax.yaxis, FixedLocator(range(len(rows))), lambda row: labels[round(row)])
        legend(figure, [Line2D([], [], color=colours[k], marker="o", label=NETWORKS[k][0]) for k in NETWORKS])
        return standalone(to_svg(figure, "networks", "What each method loses, network by network"))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
