"""``ssdd-bench compare``: the regression gate between two sets of results."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import click

from ssdd_bench.cli import _options as options
from ssdd_bench.cli._output import print_json
from ssdd_bench.cli._verbs import IntegerRange, argument, flag, option, verb

WRITE = "ssdd-bench run --tokenizers IDS --res PX --no-speed --out"


@verb
def command(
    base: Annotated[str, argument(type=click.Path())],
    head: Annotated[str, argument(type=click.Path())],
    fail: Annotated[
        tuple[str, ...],
        option(
            'Allow a loss, such as "rfid:+2%" or "psnr:-0.1"; may be repeated.',
            "RULE",
            multiple=True,
        ),
    ] = (),
    noise: Annotated[
        Path | None, option("Read thresholds that `ssdd-bench noise` has learnt.")
    ] = None,
    any_change: Annotated[bool, flag("Fail on improvements beyond a threshold too.")] = False,
    junit: Annotated[Path | None, option("Write JUnit XML.")] = None,
    markdown: Annotated[Path | None, option("Write a Markdown table.")] = None,
    speed_ab: Annotated[bool, flag("Time BASE and HEAD, two tokenizers, by turns.")] = False,
    res: Annotated[int, option("Set the side of the image for --speed-ab in pixels.", "PX")] = 256,
    device: options.Device = "auto",
    turns: Annotated[
        int, option("Call each so many times for --speed-ab.", "N", IntegerRange(min=3))
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

    from ssdd_bench.evaluation.environment import choose_device
    from ssdd_bench.gate import outputs
    from ssdd_bench.gate.compare import compare
    from ssdd_bench.gate.load import load_side
    from ssdd_bench.gate.speed import compare_speed
    from ssdd_bench.gate.thresholds import (
        SPEED,
        Threshold,
        load_learnt,
        parse_rules,
        project_rules,
    )
    from ssdd_bench.results.files import write_text

    context = click.get_current_context()
    learnt = load_learnt(noise) if noise else {}
    thresholds = {**learnt, **project_rules(Path.cwd()), **parse_rules(fail)}
    if speed_ab:
        rule = thresholds.get(SPEED, Threshold(0.1, True, True))
        ratio = compare_speed(base, head, res, turns, rule, str(choose_device(device)))
        line = outputs.describe_speed(base, head, ratio, res)
        if markdown is not None:
            write_text(markdown, f"{line}\n")
        outputs.add_to_summary(f"{line}\n")
        if not print_json(asdict(ratio) | {"exit_code": int(ratio.is_regression)}):
            click.echo(line)
        context.exit(int(ratio.is_regression))
    before, after = (load_side(side, f"{WRITE} {side}") for side in (base, head))
    found = compare(before, after, thresholds, any_change)
    table = outputs.to_markdown(found)
    if junit is not None:
        write_text(junit, outputs.to_junit(found))
    if markdown is not None:
        write_text(markdown, table)
    outputs.add_to_summary(table)
    if not print_json(outputs.to_document(found)):
        outputs.print_comparison(found, Console())
    context.exit(found.exit_code)
