"""``ssdd-bench compare``: the regression gate between two sets of results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._json import json_option, print_json

if TYPE_CHECKING:
    from ssdd_bench.gate.thresholds import Threshold


def _compare_speed(
    base: str,
    head: str,
    res: int,
    turns: int,
    threshold: Threshold | None,
    device: str,
    as_json: bool,
) -> int:
    from dataclasses import asdict

    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.gate.speed import compare_speed
    from ssdd_bench.gate.thresholds import Threshold

    rule = threshold or Threshold(0.1, True)
    found = compare_speed(base, head, res, turns, rule, str(choose_device(device)))
    if as_json:
        print_json(asdict(found) | {"exit_code": int(found.is_regression)})
    else:
        low, high = found.interval
        click.echo(
            f"{head} decodes {found.ratio:.3f} times as fast as {base} ({low:.3f} to {high:.3f}; "
            f"{found.head_s:.4g} s and {found.base_s:.4g} s, {turns} turns at {res} px): "
            + ("regression" if found.is_regression else "no regression")
        )
    return int(found.is_regression)


@click.command("compare", short_help="Regression gate between two sets of results.")
@click.argument("base", type=click.Path())
@click.argument("head", type=click.Path())
@click.option(
    "--fail",
    "rules",
    multiple=True,
    metavar="RULE",
    help='Threshold, such as "rfid:+2%" or "psnr:-0.1"; may be given several times.',
)
@click.option("--noise", type=options.PATH, help="Thresholds that ssdd-bench noise has learnt.")
@click.option("--any-change", is_flag=True, help="Fail on improvements beyond a threshold too.")
@click.option("--junit", type=options.PATH, help="Write JUnit XML.")
@click.option("--markdown", type=options.PATH, help="Write a Markdown table.")
@click.option(
    "--speed-ab",
    is_flag=True,
    help="BASE and HEAD are tokenizers: time them by turns, now.",
)
@options.resolution(default=256, help="Side of the image for --speed-ab in pixels.")
@options.device
@click.option(
    "--turns",
    type=click.IntRange(min=3),
    default=15,
    show_default=True,
    metavar="N",
    help="Timed calls of each for --speed-ab.",
)
@json_option
@click.pass_context
def command(
    context: click.Context,
    base: str,
    head: str,
    rules: tuple[str, ...],
    noise: Path | None,
    any_change: bool,
    junit: Path | None,
    markdown: Path | None,
    speed_ab: bool,
    res: int,
    device: str,
    turns: int,
    as_json: bool,
) -> None:
    """Compare the results in HEAD with those in BASE: files, folders, git:REV or git:REV:PATH.

    Exits with 0 without a regression, 1 with one, 2 if the two cannot be compared: other images,
    protocol or metric. Thresholds come from --fail, then [tool.ssdd-bench.gate] of
    pyproject.toml, then --noise; docs/gate.md has the rule. Speed in result files is not compared,
    since the machine may have been busy in one of the runs. --speed-ab measures both by turns.
    """
    from rich.console import Console
    from rich.table import Table

    from ssdd_bench.cli._tables import write_text
    from ssdd_bench.gate.compare import compare
    from ssdd_bench.gate.load import load_side
    from ssdd_bench.gate.outputs import (
        HEADINGS,
        add_to_summary,
        row_texts,
        to_document,
        to_junit,
        to_markdown,
        verdict,
    )
    from ssdd_bench.gate.thresholds import load_learnt, parse_rules, project_rules

    learnt = load_learnt(noise) if noise else {}
    thresholds = {**learnt, **project_rules(Path.cwd()), **parse_rules(rules)}
    if speed_ab:
        context.exit(
            _compare_speed(base, head, res, turns, thresholds.get("decode_ips"), device, as_json)
        )
    found = compare(load_side(base), load_side(head), thresholds, any_change)
    for path, text in ((junit, to_junit(found)), (markdown, to_markdown(found))):
        if path is not None:
            write_text(path, text)
    add_to_summary(found)
    if as_json:
        print_json(to_document(found))
    else:
        table = Table(*HEADINGS, box=None, header_style="bold")
        colours = {"regression": "red", "better": "green", "worse": "yellow"}
        for one in found.differences:
            table.add_row(*row_texts(one), style=colours.get(one.verdict))
        console = Console()
        if found.differences:
            console.print(table)
        for text in (*found.obstacles, *found.notes):
            console.print(text, soft_wrap=True, highlight=False, markup=False)
        console.print(verdict(found))
    context.exit(found.exit_code)
