"""Rows of generated images: what they are called, measure by default, and do otherwise."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssdd_bench.evaluation import sample_row
from ssdd_bench.evaluation.sample_row import (
    default_sample_metrics,
    departures,
    generated_label,
)
from ssdd_bench.protocols.descriptions import describe
from ssdd_bench.protocols.registry import find_protocol
from ssdd_bench.results.schema import GeneratedRecord
from ssdd_bench.results.store import load_results

FOLDER = Path(__file__).parents[2] / "results" / "generation"
GFID, ADM = find_protocol("gfid-v1"), find_protocol("adm-v1")
MOMENTS = SimpleNamespace(moments=object(), name="adm", classes=("cat", "dog"))
PHOTOS = SimpleNamespace(moments=None, name="photos", classes=())


@pytest.fixture(scope="module")
def row() -> GeneratedRecord:
    """One made as gfid-v1 says, without guidance."""
    (result,) = load_results(sorted(FOLDER.glob("ssdd-DiT-nano-2-euler-20_*.json"))[:1])
    generation = replace(
        result.generation,
        model="DiT-nano/2",
        objective="flow",
        sampler="euler",
        steps=250,
        labels="equal",
        guidance_scale=1.0,
        guided_channels=4,
        guidance_interval=(0.0, 1.0),
        statistics="per channel",
    )
    return GeneratedRecord(
        fingerprint="",
        generation=generation,
        tokenizer=replace(result.tokenizer, label="ssdd"),
        decoder_steps=1,
        latent=result.latent,
        resolution=64,
        samples=20,
        seed=0,
        classes=(),
        warnings=(),
        execution=result.execution,
        environment={},
        command="",
    )


def changed(row, **fields):
    return replace(row, generation=replace(row.generation, **fields))


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, ""),
        ({"guidance_scale": 1.5}, ", cfg 1.5"),
        ({"guidance_scale": 1.5, "guided_channels": 3}, ", cfg 1.5 on 3 channels"),
        ({"guidance_scale": 1.5, "guided_channels": 1}, ", cfg 1.5 on 1 channel"),
        ({"guidance_scale": 4.0, "guidance_interval": (0.0, 0.75)}, ", cfg 4 in 0 to 0.75"),
        ({"guided_channels": 3, "guidance_interval": (0.0, 0.75)}, ""),  # unguided
    ],
)
def test_a_label_says_what_distinguishes_a_row(row, fields, end):
    assert generated_label(changed(row, **fields)) == f"ssdd + DiT-nano/2, euler 250{end}"


def test_a_row_made_as_its_protocol_says_departs_in_nothing(row):
    assert row.latent.channels == 4
    assert list(departures(row, GFID, MOMENTS)) == []
    whole = changed(row, guidance_scale=1.5, guidance_interval=(0.2, 1.0))
    assert list(departures(whole, GFID, MOMENTS)) == []  # gfid-v1 takes any interval


@pytest.mark.parametrize(
    ("protocol", "fields", "text"),
    [
        (GFID, {"steps": 20}, "20 steps of euler; gfid-v1: 250 of euler"),
        (GFID, {"sampler": "heun"}, "250 steps of heun; gfid-v1: 250 of euler"),
        (GFID, {"objective": "ddpm"}, "250 steps of euler; gfid-v1: 250 of ddpm"),
        (GFID, {"labels": "random"}, f"random labels; gfid-v1: {describe('labels', 'equal')}"),
        (
            GFID,
            {"guidance_scale": 1.5, "guided_channels": 3},
            "3 guided channels; gfid-v1 guides all",
        ),
        (
            GFID,
            {"guidance_scale": 1.5, "guided_channels": 1},
            "1 guided channel; gfid-v1 guides all",
        ),
        (
            GFID,
            {"statistics": "by the tokenizer"},
            f"latents scaled by the tokenizer; gfid-v1: {describe('statistics', 'per channel')}",
        ),
    ],
)
def test_each_departure_is_named_once(row, protocol, fields, text):
    assert list(departures(changed(row, **fields), protocol, MOMENTS)) == [text]


def test_departures_from_a_protocol_that_guides_some_channels_at_all_times(row):
    base = {"labels": ADM.labels, "sampler": ADM.flow_sampler, "statistics": ADM.statistics}
    given = changed(row, **base, guidance_scale=1.5, guided_channels=3)
    assert (ADM.guided_channels, ADM.guidance_interval) == (3, "whole")
    assert list(departures(given, ADM, MOMENTS)) == []
    for interval in ((0.0, 0.5), (0.1, 1.0)):
        low, high = interval
        assert list(departures(changed(given, guidance_interval=interval), ADM, MOMENTS)) == [
            f"guided at times {low:g} to {high:g}; adm-v1 guides at all times"
        ]
    few = replace(given, latent=replace(given.latent, channels=2))
    assert list(departures(changed(few, guided_channels=2), ADM, MOMENTS)) == []


def test_images_in_place_of_moments_and_earlier_warnings_come_along(row):
    warned = replace(row, warnings=("colours far from the training set's",))
    first, last = departures(warned, GFID, PHOTOS)
    assert first == "colours far from the training set's"
    assert last == (
        f"compared with images of photos; gfid-v1: {describe('reference', 'training moments')}"
    )


def test_default_metrics_follow_labels_and_say_once_which_weights_are_missing(monkeypatch):
    monkeypatch.setattr(sample_row, "cached_path", lambda name: None)
    missing = default_sample_metrics(GFID, True, MOMENTS)
    assert missing[0] == "gfid"
    assert not {"sfid", "isc", "precision", "recall"} & set(missing)  # of the same network
    monkeypatch.setattr(sample_row, "cached_path", lambda name: Path(name))
    labelled = default_sample_metrics(GFID, True, MOMENTS)
    assert labelled[:5] == GFID.metrics
    assert "fd_effnet_intra" in labelled
    for has_labels, reference in ((False, MOMENTS), (True, PHOTOS)):
        found = default_sample_metrics(GFID, has_labels, reference)
        assert found == tuple(key for key in labelled if key != "fd_effnet_intra")
