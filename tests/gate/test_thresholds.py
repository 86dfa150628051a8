"""Rules of the gate, typed or learnt."""

import numpy as np
import pytest
from click.testing import CliRunner

from ssdd_bench.cli.noise import command as noise_command
from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.gate.load import load_side
from ssdd_bench.gate.thresholds import learn, load_learnt, parse_rules, save_learnt


@pytest.mark.parametrize("rule", ["psnr", "psnr:", "psnr:abc", "psnr:nan", "PSNR:-1", "a:1e999"])
def test_wrong_rule(rule):
    with pytest.raises(OptionError, match="is no threshold"):
        parse_rules([rule])


@pytest.mark.slow
def test_noise_is_learnt_from_seeds_and_kept(measure, tmp_path):
    measure("ssdd", tmp_path / "runs", seeds=(0, 1, 2), limit=4)
    done = CliRunner().invoke(
        noise_command, [str(tmp_path / "runs"), "--out", str(tmp_path / "noise.toml")]
    )
    assert done.exit_code == 0
    learnt = load_learnt(tmp_path / "noise.toml")
    results = load_side(str(tmp_path / "runs"))
    values = [one.result.metrics["psnr"].value for one in results]
    # Student's quantile of 0.9999 with two degrees of freedom
    assert learnt["psnr"].amount == pytest.approx(70.7 * 2**0.5 * np.std(values, ddof=1), rel=1e-3)
    with pytest.raises(UserError, match="two seeds"):
        learn(results[:1])
    (tmp_path / "noise.toml").write_text("x = 1")
    with pytest.raises(UserError, match="noise"):
        load_learnt(tmp_path / "noise.toml")
    save_learnt(learnt, tmp_path / "noise.toml")
    assert load_learnt(tmp_path / "noise.toml") == learnt
