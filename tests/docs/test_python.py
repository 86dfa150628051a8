"""docs/how-to/python.md: its blocks run, one after another, as they stand."""

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

DOCUMENT = (Path(__file__).parents[2] / "docs" / "how-to" / "python.md").read_text("utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_blocks_run_and_give_what_they_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    blocks = BLOCK.findall(DOCUMENT)
    assert len(blocks) == DOCUMENT.count("```python") > 5
    names: dict[str, Any] = {}
    results: dict[int, Any] = {}  # each block's `result`, once
    for block in blocks:
        exec(compile(block, "docs/how-to/python.md", "exec"), names)
        results[id(names["result"])] = names["result"]
    first, untrained, functions, tensor = results.values()
    assert first.metrics["psnr"].value > 20
    assert first.tokenizer.label == "ssdd"  # one step, as its card says
    assert untrained.tokenizer.label == "untrained"
    assert functions.latent.channels == 3
    assert tensor.data.n == names["again"].data.n == 4
    assert tensor.metrics["psnr"].value == names["again"].metrics["psnr"].value
    assert names["path"].is_file()
    assert names["pairs"].metrics["mse"].value == pytest.approx(1e-4, rel=0.2)
    assert names["generated"].metrics["fd_effnet"].value > 0
    assert names["images_again"].shape == names["decoded"].shape == (2, 3, 64, 64)
