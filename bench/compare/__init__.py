"""Two result sets side by side: what differs in how they were made, and in what came out, beyond noise."""

from pathlib import Path

from bench.errors import BenchError


def compare_results(first: Path, second: Path, output: Path | None = None) -> None:
    """Print what differs between two result sets, called A and B, and write the same as Markdown to ``output``.

    Raises:
        BenchError: a path leads to nothing that can be compared, or the output cannot be written.
    """
    from bench.compare.sections import comparison_sections
    from bench.compare.sides import load_sides
    from bench.report.document import render_markdown, render_terminal
    from bench.terminal import terminal

    sections = comparison_sections(*load_sides(first, second))
    if output is not None:
        try:
            output.write_text(render_markdown(sections), encoding="utf-8")
        except OSError as error:
            raise BenchError(f"cannot write {output}: {error.strerror}; choose another file with --output") from error
    terminal().print(render_terminal(sections))
