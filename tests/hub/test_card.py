"""Model cards: huggingface_hub reads the scores back, and its validator takes them."""

import dataclasses
from unittest import mock
from urllib.parse import urlsplit

import pytest
from huggingface_hub import ModelCard, get_session, repocard
from huggingface_hub.repocard_data import model_index_to_eval_results

from ssdd_bench.errors import OutputError, UnknownNameError, UserError
from ssdd_bench.hub.card import (
    eval_results,
    make_card,
    push_card,
    select_results,
    write_card,
)
from ssdd_bench.hub.remote import HubError
from ssdd_bench.hub.validate import MAX_BYTES
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.results.schema import Result


@pytest.fixture
def chosen(results: list[Result]) -> list[Result]:
    return select_results(results, "ssdd")


def test_a_label_or_an_id_with_one_set_of_weights(results: list[Result]) -> None:
    assert {one.tokenizer.label for one in select_results(results, "ssdd")} == {"ssdd"}
    assert [one.resolution for one in select_results(results, "ssdd:f=16")] == [256]
    codecs = select_results(results, "jpeg")
    assert {one.tokenizer.id for one in codecs} == {"jpeg"}
    two = [one for one in results if one.tokenizer.label in ("klvae:f=16", "klvae")]
    renamed = [
        dataclasses.replace(one, tokenizer=dataclasses.replace(one.tokenizer, label=f"k{i}"))
        for i, one in enumerate(two)
    ]
    with pytest.raises(UserError, match="k0, k1"):
        select_results(renamed, "klvae")
    with pytest.raises(UnknownNameError, match="did you mean"):
        select_results(results, "sdd")


def test_huggingface_hub_reads_every_score_back(chosen: list[Result], tmp_path) -> None:
    expected = [entry for one in chosen for entry in eval_results(one)]
    path = write_card(make_card(chosen, "| a |"), tmp_path / "README.md")
    read = ModelCard.load(path)
    assert read.data.eval_results == expected
    assert read.data.model_name == "ssdd"
    assert "| a |" in read.text
    index = read.data.to_dict()["model-index"]
    assert model_index_to_eval_results(index) == ("ssdd", expected)
    assert len(index[0]["results"]) == len(chosen) == 2  # a data set per resolution


def test_a_card_is_written_over_an_earlier_one_and_over_no_other_file(
    chosen: list[Result], tmp_path
) -> None:
    path = tmp_path / "README.md"
    write_card(make_card(chosen), path)
    write_card(make_card(chosen, "| new |"), path)
    assert "| new |" in path.read_text()
    path.write_text("# My project")
    with pytest.raises(OutputError, match="--out"):
        write_card(make_card(chosen), path)
    assert path.read_text() == "# My project"


def test_a_score_says_how_it_was_made(chosen: list[Result]) -> None:
    result = chosen[0]
    found = {one.metric_type: one for one in eval_results(result)}
    available = {key for key, one in result.metrics.items() if one.value is not None}
    assert found.keys() == available | {"encode_images_per_s", "decode_images_per_s"}
    psnr = found["psnr"]
    assert (psnr.metric_name, psnr.metric_value) == ("PSNR", result.metrics["psnr"].value)
    assert psnr.dataset_type == "sample"
    assert psnr.metric_args["resolution"] == 256
    assert psnr.metric_args["n"] == 35
    assert psnr.metric_args["protocol"] == "default-v1"
    assert psnr.metric_args["protocol_sha256"] == result.protocol["sha256"]
    assert psnr.metric_args["command"] == result.command
    assert found["decode_images_per_s"].metric_args["device"] == "cpu"


def test_a_former_version_of_a_protocol_is_another_data_set(chosen: list[Result]) -> None:
    present = chosen[0]
    (former,) = PROTOCOLS.get("default-v1").superseded
    older = dataclasses.replace(present, protocol=present.protocol | {"sha256": former.sha256})
    of_both = [next(eval_results(one)) for one in (present, older)]
    assert len({one.dataset_config for one in of_both}) == 2
    assert [one.metric_args.get("former_version") for one in of_both] == [None, former.change]
    text = make_card([present, older]).text
    marked = [line for line in text.splitlines() if former.change in line]
    assert [former.sha256 in line for line in marked] == [True]


def test_the_validator_of_the_hub(hub, chosen: list[Result], monkeypatch) -> None:
    def post(url: str, **request):  # former versions ask huggingface.co, whatever the endpoint
        return get_session().post(hub.url + urlsplit(url).path, **request)

    monkeypatch.setattr(repocard, "get_session", lambda: mock.Mock(post=post))
    card = make_card(chosen)
    card.validate()
    assert hub.requests == ["POST /api/validate-yaml"]
    card.data.license = "Apache-2.0"  # not an id of the Hub
    with pytest.raises(ValueError, match="license"):
        card.validate()


@pytest.mark.medium
def test_a_pushed_card_replaces_no_other_text(hub, chosen: list[Result]) -> None:
    card = make_card(chosen)
    assert push_card(card, "someone/ssdd").startswith(hub.url)
    push_card(make_card(chosen, "| new |"), "someone/ssdd")  # over a card of ours
    repository = hub.repositories["model", "someone/ssdd"]
    assert b"| new |" in repository.files["README.md"]
    repository.commits.append({"README.md": b"---\ntags: []\n---\nby hand", "weights": b""})
    with pytest.raises(HubError, match="--pull-request"):
        push_card(card, "someone/ssdd")
    assert repository.files["README.md"].endswith(b"by hand")
    assert push_card(card, "someone/ssdd", pull_request=True).endswith("/discussions/1")
    assert repository.files["README.md"].endswith(b"by hand")
    assert repository.pull_requests == [{"README.md": str(card).encode(), "weights": b""}]
    repository.files["README.md"] = bytes(MAX_BYTES + 1)  # not downloaded, and none of ours
    with pytest.raises(HubError, match="--pull-request"):
        push_card(card, "someone/ssdd")


def test_the_hub_refuses_a_broken_card(hub, chosen: list[Result]) -> None:
    card = make_card(chosen)
    card.data.license = "Apache-2.0"
    with pytest.raises(HubError, match="license"):
        push_card(card, "someone/ssdd")
    assert hub.repositories["model", "someone/ssdd"].files == {}


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("OpenRAIL++", {"license": "openrail++"}),
        ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        ("that of the weights", {"license": "other", "license_name": "that-of-the-weights"}),
        ("", {}),
    ],
)
def test_licences(chosen: list[Result], licence: str, expected: dict[str, str]) -> None:
    tokenizer = dataclasses.replace(chosen[0].tokenizer, licence=licence)
    data = make_card([dataclasses.replace(chosen[0], tokenizer=tokenizer)]).data.to_dict()
    assert {key: data[key] for key in ("license", "license_name") if key in data} == expected


def test_the_text_names_commands_protocols_and_weights(chosen: list[Result]) -> None:
    text = make_card(chosen).text
    assert text.count(f"    {chosen[0].command}\n") == 1
    assert f"default-v1: sha256 `{chosen[0].protocol['sha256']}`" in text
    assert all(sha in text for sha in chosen[0].tokenizer.weights.values())


def test_texts_of_others_stay_in_their_lines_and_are_no_html(chosen: list[Result]) -> None:
    evil = "a <img src=x onerror=f()>\n\n# b"
    tokenizer = dataclasses.replace(
        chosen[0].tokenizer,
        title=evil,
        family=evil,
        note=evil,
        label=f"ssdd`{evil}",
        weights={evil: "0"},
    )
    one = dataclasses.replace(chosen[0], tokenizer=tokenizer, command=evil)
    lines = make_card([one]).text.splitlines()
    headings = [line for line in lines if line.startswith("#")]
    assert headings == ["# a &lt;img src=x onerror=f()>  # b", "## Results", "## Reproduce"]
    shown = [line for line in lines if "<img" in line and not line.startswith("    ")]
    assert [line.count("<img") for line in shown] == [1]  # the label, which is code
    assert "`ssdda <img" in shown[0]
