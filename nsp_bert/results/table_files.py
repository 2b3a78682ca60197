"""The tables of a benchmark in its folder, as Markdown, CSV and LaTeX, and the main ones on the terminal."""

from __future__ import annotations

from pathlib import Path

from nsp_bert.files import write_text
from nsp_bert.results.benchmark_tables import PUBLISHED, Table
from nsp_bert.results.comparison_tables import METHODS_TABLE
from nsp_bert.results.tables import comma_separated, latex, markdown, print_groups
from nsp_bert.terminal import plain_console


def write_tables(tables: list[Table], folder: Path) -> None:
    """Write `tables.md` with all tables, and `NAME.csv` and `NAME.tex` for each."""
    write_text("# Benchmark\n\n" + "\n".join(map(section, tables)), folder / "tables.md")
    for table in tables:
        write_text(comma_separated(table.headers, table.rows), folder / f"{table.name}.csv")
        comment = f"% {table.title}. {table.note}\n% \\usepackage{{booktabs}}, for Chinese also ctex with XeLaTeX\n"
        below = "".join(f"% {line}\n" for line in table.below)
        write_text(comment + latex(table.headers, table.rows) + below, folder / f"{table.name}.tex")


def section(table: Table) -> str:
    """Return a table in Markdown, with its title and what is to be read above and below it."""
    below = "".join(f"- {line}\n" for line in table.below)
    parts = [f"## {table.title}", table.note, markdown(table.headers, table.rows)]
    return "\n\n".join(parts) + (f"\n{below}" if below else "")


def print_main_tables(tables: list[Table]) -> None:
    """Print Table 1, if it is there: published methods, then ours; and our rows of the comparison of methods."""
    console = plain_console()
    for table in (one for one in tables if one.name in ("table1", METHODS_TABLE)):
        published = [row for row in table.rows if row[0].endswith(PUBLISHED)]
        ours = [row for row in table.rows if row not in published]
        named = [[name.removesuffix(PUBLISHED), *cells] for name, *cells in published]
        shown = [named, ours] if table.name == "table1" else [ours]
        console.print(f"\n{table.title}" + (": published methods, then ours" if len(shown) > 1 else ""))
        print_groups(table.headers, shown, console)
        console.print(table.note)
        for line in table.below:
            if any(f" {line.split(' ', 1)[0]}" in cell for row in ours for cell in row):
                console.print(line, highlight=False, markup=False, soft_wrap=True)
