"""A store that nobody asked yet: it is recorded into, and read once its server is up."""

import pytest

import workbench as wb
from workbench.errors import Unauthenticated, Unavailable, UsageError


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("WORKBENCH_API_KEY", "no such key")


def test_a_store_is_opened_while_its_server_is_down(key):
    with wb.open("http://127.0.0.1:9", check=False) as store:
        assert repr(store) == "<Store http://127.0.0.1:9 (not asked yet)>"
        with pytest.raises(Unavailable, match="cannot be reached") as away:
            store.runs()
        assert "workbench up" in away.value.hint
        with pytest.raises(Unavailable):
            store.workspace  # noqa: B018 - reading it is what asks
    with pytest.raises(Unavailable):
        wb.open("http://127.0.0.1:9")


def test_the_workspace_is_learned_from_the_first_answer(server, monkeypatch):
    monkeypatch.setenv("WORKBENCH_API_KEY", server.api_key)
    with wb.open(server.url, check=False) as store:
        run = wb.record(store, lambda _: 1, None)
        assert server.workspace.name in repr(store)
        assert store.workspace_id == str(server.workspace.workspace_id)
        assert run.output == 1


def test_a_key_that_is_refused_is_heard_of_when_it_is_used(server, key):
    with wb.open(server.url, check=False) as store:
        with pytest.raises(Unauthenticated):
            store.runs()
        with pytest.raises(Unauthenticated):
            store.workspace  # noqa: B018 - reading it is what asks
    with pytest.raises(Unauthenticated):
        wb.open(server.url)


def test_whose_key_it_is_cannot_be_checked_without_asking(server, key):
    with pytest.raises(UsageError, match="only be told by asking"):
        wb.open(server.url, workspace="other", check=False)
