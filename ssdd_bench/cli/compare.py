"""``ssdd-bench compare``: the regression gate between two sets of results."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._verbs import argument, flag, option, verb


@verb
def command(
    base: Annotated[str, argument(type=click.Path())],
    head: Annotated[str, argument(type=click.Path())],
    fail: Annotated[
        tuple[str, ...],
        option('Threshold: "rfid:+2%" or "psnr:-0.1"; may be repeated.', "RULE", multiple=True),
    ] = (),
    noise: Annotated[Path | None, option("Thresholds that ssdd-bench noise has learnt.")] = None,
    any_change: Annotated[bool, flag("Fail on improvements beyond a threshold too.")] = False,
    junit: Annotated[Path | None, option("Write JUnit XML.")] = None,
    markdown: Annotated[Path | None, option("Write a Markdown table.")] = None,
    speed_ab: Annotated[bool, flag("BASE and HEAD are tokenizers: time them by turns.")] = False,
    res: Annotated[int, option("Side of the image for --speed-ab in pixels.", "PX")] = 256,
    device: options.Device = "auto",
    turns: Annotated[
        int, option("Timed calls of each for --speed-ab.", "N", click.IntRange(min=3))
    ] = 15,
) -> None:
    """Compare two sets of results: a regression gate.

    BASE and HEAD are files, folders, git:REV or git:REV:PATH. Exits with 0 without a regression, 1
    with one, 2 if the two cannot be compared: other images, protocol or metric. Thresholds come
    from --fail, then [tool.ssdd-bench.gate] of pyproject.toml, then --noise; docs/how-to/gate.md
    has the rule. Speed in result files is not compared, since the machine may have been busy in one
    of the runs. --speed-ab measures both by turns.
    """
    from rich.console import Console
    from rich.table import Table

    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.gate import outputs
    from ssdd_bench.gate.compare import compare
    from ssdd_bench.gate.load import load_side
    from ssdd_bench.gate.speed import compare_speed
    from ssdd_bench.gate.thresholds import Threshold, load_learnt, parse_rules, project_rules
    from ssdd_bench.results.files import write_text

    context = click.get_current_context()
    learnt = load_learnt(noise) if noise else {}
    thresholds = {**learnt, **project_rules(Path.cwd()), **parse_rules(fail)}
    if speed_ab:
        rule = thresholds.get("decode_ips", Threshold(0.1, True))
        ratio = compare_speed(base, head, res, turns, rule, str(choose_device(device)))
        if not print_json(asdict(ratio) | {"exit_code": int(ratio.is_regression)}):
            low, high = ratio.interval
            click.echo(
                f"{head} decodes {ratio.ratio:.3f} times as fast as {base} ({low:.3f} to "
                f"{high:.3f}; {ratio.head_s:.4g} s and {ratio.base_s:.4g} s, {turns} turns at "
                f"{res} px): {'regression' if ratio.is_regression else 'no regression'}"
            )
        context.exit(int(ratio.is_regression))
    found = compare(load_side(base), load_side(head), thresholds, any_change)
    if junit is not None:
        write_text(junit, outputs.to_junit(found))
    if markdown is not None:
        write_text(markdown, outputs.to_markdown(found))
    outputs.add_to_summary(found)
    if not print_json(outputs.to_document(found)):
        console = Console()
        table = Table(*outputs.HEADINGS, box=None, header_style="bold")
        colours = {"regression": "red", "better": "green", "worse": "yellow"}
        for one in found.differences:
            table.add_row(*outputs.row_texts(one), style=colours.get(one.verdict))
        if found.differences:
            console.print(table)
        for text in (*found.obstacles, *found.notes):
            console.print(text, soft_wrap=True, highlight=False, markup=False)
        console.print(outputs.verdict(found))
    context.exit(found.exit_code)
