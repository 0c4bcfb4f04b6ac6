"""What the pages take from the code and from the kept results: ``python docs/pages.py`` writes it into them.

On the page of a method that is what stands behind ``<!-- about -->``, ``<!-- knobs -->`` and ``<!-- measured -->``, up
to the next ``<!-- end -->``; ``<!-- methods -->`` is the table of all of them, ``<!-- across -->`` what all kept
comparisons say together. MkDocs calls the functions ``on_*`` (its hooks) and fills them in anew, so that what is built
cannot be stale; a test tells when the files are. A fence of the kind ``math`` holds LaTeX and becomes MathML, which
browsers draw by themselves.
"""

import re
from dataclasses import fields
from typing import Any

import latex2mathml.converter
from kept import CAMPS, KEPT, ROOT, across, measured, picture, table
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from bench.plugins import registry
from bench.plugins.method import Method, MethodSpec, Tunable

#: pages that are files of the repository, and files that pages show
BORROWED = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "kept_results.md": f"{KEPT}/README.md",
    "feature_noise_validation.md": f"{KEPT}/feature_noise_validation.md",
    "budgeted_broadcast_measured.md": f"{KEPT}/budgeted_broadcast.md",
}
SMALLER = {
    "structure": "the structure: fewer or thinner layers, which every runtime is faster for",
    "front": "the structure, of the models of all budgets at once",
    "mask": "the number of non-zero weights; no runtime here is faster for it",
    "bits": "the bits of numbers",
}
#: in a page, what is taken from elsewhere
PLACE = re.compile(r"^(<!-- (\w+) -->)$.*?^(<!-- end -->)$", re.MULTILINE | re.DOTALL)


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
    made = {"about": about, "knobs": knobs, "measured": measured}
    made |= {"methods": lambda _: overview(), "across": lambda _: across()}
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


def overview() -> str:
    """All methods: where each acts, and the first line of its docstring, with links to their pages."""
    rows = []
    for name in sorted(registry.files("methods")):
        method = registry.load_method(name)
        camp = "control" if method.control else CAMPS[method.stage]
        rows.append([f"[`{name}`]({name}.md)", camp, method.promises, summary(method)])
    order = [*CAMPS.values(), "control"]
    return table(["method", "acts", "promises", "what it does"], sorted(rows, key=lambda row: order.index(row[1])))


def formula(source: str, language: str, css_class: str, options: Any, md: Any, **_: Any) -> str:
    """LaTeX as MathML, one formula a line."""
    lines = [latex2mathml.converter.convert(line, display="block") for line in source.splitlines() if line.strip()]
    return f'<div class="{css_class}">{"".join(lines)}</div>'


if __name__ == "__main__":
    (ROOT / KEPT / "networks.svg").write_text(picture(), encoding="utf-8")
    for path in (ROOT / "docs" / "findings.md", *sorted((ROOT / "docs" / "methods").glob("*.md"))):
        path.write_text(filled(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")
