"""Write docs/reference/performance.md and its figure from what the benchmarks recorded.

python tests/benchmarks/page.py BENCHMARKS.json docs/reference
"""

import importlib.util
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from jinja2 import Environment, StrictUndefined, Template

TEMPLATE = Path(__file__).with_name("performance.md.jinja")


def main() -> None:
    source, out = map(Path, sys.argv[1:])
    found = json.loads(source.read_text())["benchmarks"]
    runs = [run["extra_info"] | {"test": run["name"]} for run in found]
    decoders = [run for run in runs if "gmac" in run]
    ceiling = 2 * max(run["ceiling"] for run in decoders)
    (memory,) = (run["peak_memory_bytes"] for run in runs if "peak_memory_bytes" in run)
    draw(decoders, ceiling, out / "performance.svg")
    shares = " and ".join(
        f"{2 * run['gmac']['SSDD-S'] / run['seconds']['SSDD-S'] / ceiling:.0%} at {run['side']} px"
        for run in decoders
    )
    text = template(TEMPLATE.read_text()).render(
        machine=decoders[0]["machine"],
        decoders=decoders,
        halves=[run for run in runs if run["test"] == "test_bfloat16"],
        shipped=[run for run in runs if run["test"].startswith("test_shipped")],
        scoring=[row for run in runs for row in scoring_rows(run)],
        seconds=seconds,
        ratio=ratio,
        ceiling=f"{ceiling:.0f}",
        shares=shares,
        memory=f"{memory / 1e9:.1f}",
        **gpu_values(),
    )
    (out / "performance.md").write_text(text)


def template(text: str) -> Template:
    return Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(text)


def gpu_section() -> str:
    """Return the end of the page, which needs the committed reports of GPUs only."""
    text = TEMPLATE.read_text()
    return template(text[text.index("## On a GPU") :]).render(**gpu_values())


def gpu_values() -> dict:
    files = sorted((TEMPLATE.parents[2] / "docs/reference/gpu").glob("*.json"))
    cards = [json.loads(file.read_text()) | {"file": file.name} for file in files]
    path = TEMPLATE.parents[1] / "gpu/report.py"
    spec = importlib.util.spec_from_file_location("gpu_report", path)
    report = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = report  # where dataclasses look for it
    spec.loader.exec_module(report)
    return {"cards": cards, "table": report.table, "paper_ratio": report.PAPER_RATIO}


def seconds(run: dict) -> str:
    return " | ".join(f"{one:.3g}" for one in run["seconds"].values())


def ratio(run: dict, name: str) -> str:
    low, high = run["intervals"][name]
    return f"{run['ratios'][name]:.2f} ({low:.2f} to {high:.2f})"


def scoring_rows(run: dict) -> list[tuple[str, ...]]:
    """Return the rows of a task that is compared with another way; [] for other runs."""
    if "chain of tools" in run.get("seconds", {}):
        chain = f"{run['seconds']['chain of tools']:.1f}"
        return [
            (
                f"100 pairs, {name}",
                "one pass",
                f"{run['seconds'][name]:.1f}",
                "chain of tools",
                chain,
                f"{times:.2f}",
            )
            for name, times in run["ratios"].items()
        ]
    if "task" not in run:
        return []
    (ours, own), (other, its) = run["seconds"].items()
    task = run["task"] + (f", {run['side']} px" if "side" in run else "")
    return [(task, ours, f"{own:.3g}", other, f"{its:.3g}", ratio(run, other))]


def draw(runs: list[dict], ceiling: float, path: Path) -> None:
    """Plot seconds over operations, with the line of the best convolution."""
    plt.rcParams["svg.hashsalt"] = "ssdd-bench"
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    points = {
        name: [(2 * run["gmac"][name], run["seconds"][name], run["side"]) for run in runs]
        for name in runs[0]["seconds"]
    }
    for (name, places), marker in zip(points.items(), "osD", strict=True):
        x, y, _ = zip(*places, strict=True)
        axes.plot(x, y, marker=marker, linestyle="none", markersize=8, label=name)
        for place in places:
            axes.annotate(  # on the left, where no line is
                f"{place[2]} px",
                place[:2],
                (-8, 0),
                textcoords="offset points",
                fontsize=8,
                horizontalalignment="right",
                verticalalignment="center",
            )
    least, most = (f(x for places in points.values() for x, *_ in places) for f in (min, max))
    line = [least / 1.5, most * 1.5]
    axes.plot(line, [x / ceiling for x in line], color="0.5", label=f"{ceiling:.0f} GFLOP/s")
    axes.set(xscale="log", yscale="log", xlabel="GFLOP per image", ylabel="seconds per image")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
