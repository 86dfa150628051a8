"""Errors of the Hub become one line; large files take the way of large files."""

import pytest

from ssdd_bench.hub.remote import HubError, commit_files, ensure_repository, fetch_snapshot

# huggingface_hub hands bytes to its transport in a way that the transport deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_a_repository_is_created_once(hub) -> None:
    ensure_repository("someone/results", "dataset")
    before = hub.repositories["dataset", "someone/results"]
    ensure_repository("someone/results", "dataset")
    assert hub.repositories == {("dataset", "someone/results"): before}


def test_small_and_large_files_arrive(hub) -> None:
    ensure_repository("someone/data", "dataset")
    files = {"a/small.json": b"{}", "large.bin": bytes(200_000), "b.parquet": b"PAR1"}
    url = commit_files("someone/data", "dataset", files, "Add")
    assert url.startswith(hub.url)
    assert hub.repositories["dataset", "someone/data"].files == files
    assert len(hub.large) == 2
    assert sum(one.startswith("PUT /large/") for one in hub.requests) == 2


def test_wanted_files_are_downloaded_and_others_named(hub) -> None:
    hub.add("someone/results", {"a/one.json": b"1", "a/two.json": b"2", "x.bin": b"3"})
    snapshot = fetch_snapshot("someone/results", lambda name: name.endswith(".json"))
    assert snapshot.names == ("a/one.json", "a/two.json")
    assert snapshot.refused == ("x.bin",)
    assert (snapshot.folder / "a" / "two.json").read_bytes() == b"2"
    assert not [one for one in hub.requests if "x.bin" in one]


def test_a_change_in_the_meantime_is_refused(hub) -> None:
    repository = hub.add("someone/results", {"one": b"1"})
    parent = fetch_snapshot("someone/results", lambda name: False).commit
    repository.commits.append({"one": b"2"})
    with pytest.raises(HubError, match="changed in the meantime"):
        commit_files("someone/results", "dataset", {"one": b"3"}, "Add", parent)
    assert repository.files == {"one": b"2"}


@pytest.mark.parametrize(
    ("repo", "revision", "message"),
    [
        ("someone/absent", "", "no such repository"),
        ("someone/results", "v9", "no such revision"),
        ("results", "", "OWNER/NAME"),
        ("a/b/../c", "", "OWNER/NAME"),
    ],
)
def test_what_does_not_exist(hub, repo: str, revision: str, message: str) -> None:
    hub.add("someone/results", {})
    with pytest.raises(HubError, match=message) as caught:
        fetch_snapshot(repo, lambda name: True, revision)
    assert "\n" not in str(caught.value)


def test_without_a_token_nothing_is_written(hub, monkeypatch) -> None:
    hub.add("someone/results", {})
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(HubError, match="log in"):
        commit_files("someone/results", "dataset", {"one": b"1"}, "Add")


def test_a_token_that_no_header_can_hold(hub, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_t\u00f6ken")
    with pytest.raises(HubError, match="HF_TOKEN"):
        ensure_repository("someone/results", "dataset")


def test_without_a_network(hub, monkeypatch) -> None:
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "1")
    with pytest.raises(HubError, match="SSDD_BENCH_OFFLINE"):
        ensure_repository("someone/results", "dataset")
    assert hub.requests == []
    monkeypatch.setenv("SSDD_BENCH_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="someone/results on the Hugging Face Hub: ") as caught:
        fetch_snapshot("someone/results", lambda name: True)
    assert "\n" not in str(caught.value)
