"""Tables as LaTeX that compiles as it stands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from ssdd_bench.report.tables.model import Cell, Table

_PREAMBLE = r"""% Written by ssdd-bench report. Compile it as it stands, or copy a table environment
% into a paper that loads booktabs, graphicx and textcomp.
\documentclass[10pt]{article}
\usepackage[a4paper,landscape,margin=18mm]{geometry}
\usepackage[utf8]{inputenc}
\usepackage{textcomp,booktabs,graphicx}
\setlength{\parindent}{0pt}
\begin{document}
"""
_LATEX = {character: rf"\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
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
    "∞": r"$\infty$",
    "ε": r"$\varepsilon$",
    "β": r"$\beta$",
    "−": "$-$",
}
_ROWS_OF_A_PAGE = 26  # that fit beside caption and notes


def to_latex(tables: Iterable[Table]) -> str:
    """Write a document of booktabs tables, which pdflatex compiles as it stands."""
    body = "\n".join(piece for table in tables for piece in _latex(table))
    return f"{_PREAMBLE}{body}\\end{{document}}\n"


def escape_latex(text: str) -> str:
    """Escape any text for pdflatex; characters without a glyph become their code point."""
    return "".join(map(_escape_character, text))


def _escape_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if ord(character) < 0x180 or character in "–—’":  # known to LaTeX and textcomp
        return character if character.isprintable() else " "
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or rf"\texttt{{U+{ord(character):04X}}}"


def _latex(table: Table) -> Iterator[str]:
    """Yield one table environment, or several where the rows do not fit on a page."""
    lines = [(heading, cells) for heading, rows in table.rows() for cells in rows]
    pages = range(0, len(lines), _ROWS_OF_A_PAGE)
    for number, start in enumerate(pages, start=1):
        more = f" (part {number} of {len(pages)})" if len(pages) > 1 else ""
        yield "\n".join(_page(table, lines[start : start + _ROWS_OF_A_PAGE], more)) + "\n"


def _page(table: Table, lines: Sequence[tuple[str, list[Cell]]], more: str) -> Iterator[str]:
    label = f"tab:{table.name}" + re.sub(r"\D+", "-", more).rstrip("-")
    yield "\\begin{table}[p]\n\\centering"
    yield rf"\caption{{{escape_latex(f'{table.title}{more}. {table.caption}')}}}"
    yield rf"\label{{{label}}}" + "\n\\small"
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{{''.join('r' if c.numeric else 'l' for c in table.columns)}}}"
    yield r"\toprule"
    yield _row(escape_latex(column.heading) + _marks(column.notes) for column in table.columns)
    for heading, rows in groupby(lines, key=itemgetter(0)):
        yield r"\midrule"
        if heading:
            yield _row([_span(len(table.columns), "l", rf"\textit{{{escape_latex(heading)}}}")])
        yield from (_row(map(_cell, cells)) for _, cells in rows)
    yield "\\bottomrule\n\\end{tabular}}"
    used = {n for _, cells in lines for cell in cells for n in cell.notes}
    used |= {n for column in table.columns for n in column.notes}
    notes = [
        _marks([number]) + "~" + escape_latex(text)
        for number, text in enumerate(table.footnotes, start=1)
        if number in used
    ]
    if notes or table.remarks:
        yield r"\par\medskip\begin{minipage}{\linewidth}\footnotesize\raggedright"
        yield r"\\ ".join([*notes, *map(escape_latex, table.remarks)])
        yield r"\end{minipage}"
    yield r"\end{table}"


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _span(count: int, place: str, text: str) -> str:
    return rf"\multicolumn{{{count}}}{{{place}}}{{{text}}}"


def _marks(notes: Iterable[int]) -> str:
    text = ",".join(map(str, notes))
    return rf"\textsuperscript{{{text}}}" if text else ""


def _cell(cell: Cell) -> str:
    text = escape_latex(cell.full)
    text = rf"\textbf{{{text}}}" if cell.best else text
    text = rf"\underline{{{text}}}" if cell.second else text
    return text + (r"$^{\approx}$" if cell.tied else "") + _marks(cell.notes)
