"""The tables of a report as Markdown and as LaTeX that compiles as it stands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from ssdd_bench.report.grid import TIED, Cell
from ssdd_bench.report.paper import PaperTable
from ssdd_bench.report.tables import markdown_foot, markdown_notes, markdown_row

_PREAMBLE = r"""% Written by ssdd-bench report. Compile it as it stands, or copy a table environment
% into a paper that loads booktabs, graphicx and textcomp.
\documentclass[10pt]{article}
\usepackage[a4paper,landscape,margin=18mm]{geometry}
\usepackage[utf8]{inputenc}
\usepackage{textcomp,booktabs,graphicx}
\setlength{\parindent}{0pt}
\begin{document}
"""
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "∞": r"$\infty$",
    "ε": r"$\varepsilon$",
    "β": r"$\beta$",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "’": "'",
    "²": r"\textsuperscript{2}",
}
_ROWS_OF_A_PAGE = 26  # that fit beside caption and notes


def to_markdown(tables: Iterable[PaperTable]) -> str:
    """Write tables as GitHub Markdown; a heading over columns goes into each of them."""
    return "\n".join(_markdown(table) for table in tables)


def to_latex(tables: Iterable[PaperTable]) -> str:
    """Write a document of booktabs tables, which pdflatex compiles as it stands."""
    body = "\n".join(piece for table in tables for piece in _latex(table))
    return f"{_PREAMBLE}{body}\\end{{document}}\n"


def escape_latex(text: str) -> str:
    """Write any text such that pdflatex prints it; letters it has no font for by their number."""
    return "".join(_LATEX.get(character) or _latin(character) for character in text)


def _latin(character: str) -> str:
    if character.isascii() or ord(character) < 0x180:
        return character if character.isprintable() else " "
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or rf"\texttt{{U+{ord(character):04X}}}"


def _markdown(table: PaperTable) -> str:
    def cell_text(cell: Cell) -> str:
        text = f"**{cell.text}**" if cell.best else cell.text
        text = f"<ins>{text}</ins>" if cell.second else text
        return text + (TIED if cell.tied else "") + markdown_notes(cell.notes)

    def lines() -> Iterator[str]:
        yield f"### {table.title}\n"
        spans = [heading for heading, count in table.spans for _ in range(count)]
        yield markdown_row(
            (f"{span}<br>" if span else "") + column.heading + markdown_notes(column.notes)
            for span, column in zip(spans, table.columns, strict=True)
        )
        yield markdown_row("---:" if column.numeric else ":---" for column in table.columns)
        for heading, rows in table.rows():
            if len(table.sections) > 1 or table.kind == "reconstruction":
                yield markdown_row([f"*{heading}*", *[""] * (len(table.columns) - 1)])
            for cells in rows:
                yield markdown_row(map(cell_text, cells))
        yield from markdown_foot(table.caption, table.footnotes, table.remarks)

    return "\n".join(lines()).rstrip() + "\n"


def _latex(table: PaperTable) -> Iterator[str]:
    """One table environment, or several where the rows do not fit on a page."""
    lines = [(heading, cells) for heading, rows in table.rows() for cells in rows]
    pages = range(0, len(lines), _ROWS_OF_A_PAGE)
    for start in pages:
        part = lines[start : start + _ROWS_OF_A_PAGE]
        more = f" (part {start // _ROWS_OF_A_PAGE + 1} of {len(pages)})" if len(pages) > 1 else ""
        yield "\n".join(_latex_page(table, part, more)) + "\n"


def _latex_page(
    table: PaperTable, lines: Sequence[tuple[str, list[Cell]]], more: str
) -> Iterator[str]:
    def marks(notes: Iterable[int]) -> str:
        text = ",".join(map(str, notes))
        return rf"\textsuperscript{{{text}}}" if text else ""

    def cell_text(cell: Cell) -> str:
        text = escape_latex(cell.text)
        text = rf"\textbf{{{text}}}" if cell.best else text
        text = rf"\underline{{{text}}}" if cell.second else text
        return text + (r"$^{\approx}$" if cell.tied else "") + marks(cell.notes)

    width = len(table.columns)
    label = f"tab:{table.name}" + re.sub(r"\D+", "-", more).rstrip("-")
    yield r"\begin{table}[p]"
    yield r"\centering"
    yield rf"\caption{{{escape_latex(f'{table.title}{more}. {table.caption}')}}}"
    yield rf"\label{{{label}}}"
    yield r"\small"
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{{''.join('r' if c.numeric else 'l' for c in table.columns)}}}"
    yield r"\toprule"
    if any(heading for heading, _ in table.spans):
        cells, rules, start = [], [], 1
        for heading, count in table.spans:
            cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape_latex(heading)}}}")
            rules += [rf"\cmidrule(lr){{{start}-{start + count - 1}}}"] if heading else []
            start += count
        yield " & ".join(cells) + r" \\"
        yield "".join(rules)
    headings = (escape_latex(column.heading) + marks(column.notes) for column in table.columns)
    yield " & ".join(headings) + r" \\"
    section = None
    for heading, cells_of_row in lines:
        if heading != section or section is None:
            yield r"\midrule"
            if heading:
                words = rf"\textit{{{escape_latex(heading)}}}"
                yield rf"\multicolumn{{{width}}}{{l}}{{{words}}} \\"
            section = heading
        yield " & ".join(map(cell_text, cells_of_row)) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    used = {n for _, cells in lines for cell in cells for n in cell.notes}
    used |= {n for column in table.columns for n in column.notes}
    notes = [
        marks([number]) + "~" + escape_latex(text)
        for number, text in enumerate(table.footnotes, start=1)
        if number in used
    ]
    if notes or table.remarks:
        yield r"\par\medskip\begin{minipage}{\linewidth}\footnotesize\raggedright"
        yield r"\\ ".join([*notes, *map(escape_latex, table.remarks)])
        yield r"\end{minipage}"
    yield r"\end{table}"
