"""Results in the repository: of the present schema, of protocols of today, from clean commits."""

import json
from pathlib import Path

import pytest

from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.protocols.standing import protocol_hash, superseded_version
from ssdd_bench.results.places import path_of
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import SCHEMA_VERSION
from ssdd_bench.results.store import find_results, from_json
from ssdd_bench.weights.files import sha256_file

ROOT = Path(__file__).parents[2]
FOLDERS = ("results/mini", "results/generation")
BASELINES = ("tests/gate/baseline/klvae", "tests/gate/baseline/ssdd")
CLEAN = FOLDERS


@pytest.mark.parametrize("folder", [*FOLDERS, *BASELINES])
def test_files_are_of_the_present_schema_under_their_names(folder: str) -> None:
    for path in find_results([ROOT / folder]):
        data = read_json(path)
        assert data["schema_version"] == SCHEMA_VERSION
        result = from_json(data, path)
        assert path == path_of(result, path.parent)
        assert not result.scores or (path.parent / result.scores).is_file()
        today = json.loads(json.dumps(PROTOCOLS.get(result.protocol["id"]).record()))
        if former := superseded_version(result):
            assert protocol_hash(result.protocol) == former.sha256
        else:
            assert result.protocol == today


@pytest.mark.parametrize("folder", CLEAN)
def test_results_come_from_a_clean_commit(folder: str) -> None:
    files = find_results([ROOT / folder])
    commits = [from_json(read_json(path), path).environment["commit"] for path in files]
    assert not [commit for commit in commits if commit and commit.endswith("+")]


@pytest.mark.parametrize("folder", FOLDERS)
def test_results_come_from_the_weights_that_are_shipped(folder: str) -> None:
    """Or from a file that held the same networks, whose checksum a manifest states as former."""
    known: dict[str, set[str]] = {}
    for info in TOKENIZERS.all().values():
        for path in (info.folder / "weights").glob("*.safetensors"):
            known.setdefault(path.name, set()).add(sha256_file(path))
        for name in info.shipped.sha256 if info.shipped else ():
            known[name] |= set(info.shipped.former)
    files = find_results([ROOT / folder])
    weights = [from_json(read_json(path), path).tokenizer.weights for path in files]
    assert any(weights)
    for each in weights:
        assert all(digest in known[name] for name, digest in each.items())
