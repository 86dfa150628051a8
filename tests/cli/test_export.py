"""``ssdd-bench export``."""

import json

import pytest
from diffusers import AutoencoderKL


@pytest.mark.medium
def test_a_folder_of_diffusers(program, tmp_path):
    code, out, err = program("export", "ssdd:steps=2", tmp_path / "out", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["differences"] == {}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["_class_name"], config["steps"]) == ("AutoencoderSSDD", 2)


@pytest.mark.slow
def test_programs_state_their_difference_and_errors_are_one_line(program, tmp_path, monkeypatch):
    vae = AutoencoderKL(norm_num_groups=4, block_out_channels=(8,))
    vae.save_pretrained(tmp_path / "vae")
    tokenizer, out = f"diffusers:path={tmp_path / 'vae'}", tmp_path / "out"
    arguments = ("export", tokenizer, out, "--format", "torchscript", "--res", 16)
    code, text, _ = program(*arguments)
    assert code == 0
    assert [line.split("\t")[0] for line in text.splitlines()] == ["encoder.jit", "decoder.jit"]
    monkeypatch.setattr("ssdd_bench.diffusers.export._difference", lambda *_: 0.002)
    assert program(*arguments, "--tolerance", 0.01)[0] == 0
    code, _, err = program(*arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert "0.002" in err


def test_a_codec_cannot_be_exported(program, tmp_path):
    code, _, err = program("export", "jpeg", tmp_path)
    assert code == 2
    assert err.count("\n") == 1
