"""Tables and notes of a run as Markdown, for papers and repositories.

Takes what a report shows; computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from baco_local.evals.tables import Table

__all__ = ["document", "markdown"]


def markdown(table: Table) -> str:
    """Return one table with its title and note; of a wide one the columns that paper has room for."""
    columns = table.narrow or tuple(range(len(table.columns)))
    lines = [f"### {table.title}", ""]
    if table.note:
        lines += [table.note, ""]
    lines.append("| " + " | ".join(_escaped(table.columns[i]) for i in columns) + " |")
    lines.append("|" + "|".join("---" if i == 0 else "--:" for i in columns) + "|")
    lines += ["| " + " | ".join(_escaped(row[i].text) for i in columns) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def document(title: str, tables: Sequence[Table], notes: Sequence[tuple[str, str]]) -> str:
    """Return all tables, and below them what must be read with them."""
    said = "\n".join(f"* **{name}.** {words}" for name, words in notes)
    return f"# {title}\n\n" + "\n".join(map(markdown, tables)) + f"\n### To be read with the numbers\n\n{said}\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
