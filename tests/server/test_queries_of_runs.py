"""Runs are narrowed, sorted, searched and paged; what makes no sense is refused by name."""

import json
import threading
import time
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import _database
from speaking import a_message, a_model_call, event
from workbench_server.listing import SORTS, Filter, compose
from workbench_server.ordering import Page
from workbench_server.queries import queries
from workbench_server.searching import groups_of

from workbench.errors import UsageError

WORKSPACE = uuid4()


def until(condition, *, seconds=60):
    """Give the first true value of a condition that others bring about."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    return pytest.fail("it never came about")


def found(client, **query):
    answer = client.http.get("/runs", params=query)
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["runs"]]


def refused(client, **query):
    answer = client.http.get("/runs", params=query)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "usage_error"), answer.text
    return problem


def a_run_of(client, name, *, status="done", cost=0.5, tokens=8, **header):
    run_id = client.create(name=name, **header)
    call = a_model_call(2, input_tokens=tokens - 1, output_tokens=1, cost_usd=cost)
    ended = event("run_ended", 4, {"writers": {"w": 4}}, status=status)
    client.send(run_id, [event("run_started", 1, {}), *call, ended])
    return run_id


# ---- filters


@pytest.fixture
def three(client):
    """A cheap run that is done, a dear one that failed, and one that runs at unknown cost."""
    a_run_of(client, "cheap", cost=0.1, tokens=10, session="s/1", mode="exact")
    a_run_of(client, "dear", cost=9.0, tokens=900, status="failed", labels={"k": "v:w", "n": 1})
    parent = client.create(name="open", agent="m:f")
    client.send(parent, [event("run_started", 1, {}), *a_model_call(2, input_tokens=5)])
    client.create(name="fork", parent_run_id=parent, forked_at=2)
    return parent


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["fork", "open", "dear", "cheap"]),
        ({"status": "failed"}, ["dear"]),
        ({"status": ["failed", "done"]}, ["dear", "cheap"]),
        ({"health": "ok"}, ["fork", "open", "dear", "cheap"]),
        ({"health": ["gap", "incomplete"]}, []),
        ({"mode": "exact"}, ["cheap"]),
        ({"session": "s/1"}, ["cheap"]),
        ({"agent": "m:f"}, ["open"]),
        ({"label": "k:v:w"}, ["dear"]),
        ({"label": ["k:v:w", "n:1"]}, ["dear"]),
        ({"label": ["k:v:w", "n:2"]}, []),
        ({"min_cost_usd": 0.1}, ["dear", "cheap"]),
        ({"max_cost_usd": 1}, ["fork", "cheap"]),
        ({"min_tokens": 10, "max_tokens": 899}, ["cheap"]),
        ({"max_tokens": 5}, ["fork", "open"]),
        ({"min_duration_ms": 1}, ["dear", "cheap"]),
        ({"max_duration_ms": 1}, []),
        ({"ended_after": "2026-01-01T00:00:04Z"}, ["dear", "cheap"]),
        ({"ended_before": "2026-01-01T00:00:04Z"}, []),
        ({"ended_before": "2026-01-02"}, ["dear", "cheap"]),
        ({"created_before": "2026-01-01"}, []),
        ({"created_after": "2026-01-01T00:00:00+00:00", "name": "dear"}, ["dear"]),
        ({"status": "done", "min_tokens": 11}, []),
    ],
)
def test_runs_are_narrowed(client, three, query, names):
    assert found(client, **query) == names


def test_forks_name_their_parent_and_are_listed_by_it(client, three):
    listed = client.http.get(f"/runs/{three}/forks").json()
    [fork] = listed["runs"]
    assert (fork["name"], fork["parent_run_id"], fork["forked_at"]) == ("fork", three, 2)
    assert listed["next_cursor"] is None
    assert found(client, parent_run_id=three) == ["fork"]
    assert client.http.get(f"/runs/{fork['run_id']}/forks").json()["runs"] == []
    assert client.http.get(f"/runs/{uuid4()}/forks").status_code == 404


def test_spans_of_time_that_follow_each_other_share_no_run(client):
    for name in "abc":
        client.create(name=name)
    middle = client.http.get("/runs", params={"name": "b"}).json()["runs"][0]["created_at"]
    assert found(client, created_before=middle) == ["a"]
    assert found(client, created_after=middle) == ["c", "b"]


# ---- what is refused


@pytest.mark.parametrize(
    ("query", "where", "expected", "given"),
    [
        ({"status": "finished"}, "status", "'lost'", "finished"),
        ({"status": ["done", "x"]}, "status", "'lost'", "x"),
        ({"health": "bad"}, "health", "'incomplete'", "bad"),
        ({"mode": "x"}, "mode", "'cached'", "x"),
        ({"sort": "colour"}, "sort", "duration_ms", "colour"),
        ({"sort": "cost:up"}, "sort", ":desc", "cost:up"),
        ({"parent_run_id": "7"}, "parent_run_id", "a uuid", "7"),
        ({"created_after": "yesterday"}, "created_after", "2026-03-01T12:00:00Z", "yesterday"),
        ({"ended_before": "2026-13-01"}, "ended_before", "a time", "2026-13-01"),
        ({"created_after": "0001-01-01T00:00:00+14:00"}, "created_after", "a time", "0001"),
        ({"name": "a\0b"}, "name", "text without it", "a\\0b"),
        ({"q": "a\0b"}, "q", "text without it", "a\\0b"),
        ({"label": "a:\0"}, "label", "text without it", "a:\\0"),
        ({"name": "x" * 3000}, "name", "at most 2000", "3000"),
        ({"q": "x " * 40}, "q", "1 to 32 words", "40"),
        ({"q": "-- !!"}, "q", "1 to 32 words", "-- !!"),
        ({"q": ""}, "q", "1 to 32 words", ""),
        ({"cursor": "nonsense"}, "cursor", "next_cursor", "nonsense"),
        ({"cursor": "ünsinn"}, "cursor", "next_cursor", "ünsinn"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_expected_and_found(
    client, query, where, expected, given
):
    problem = refused(client, **query)
    assert problem["where"] == where
    assert expected in str(problem["expected"])
    assert given in str(problem["found"])


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0}, {"limit": 5001}, {"min_cost_usd": "nan"}, {"max_cost_usd": "inf"},
        {"min_tokens": -1}, {"max_tokens": 2**63}, {"min_duration_ms": "long"},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(client, query):
    refused(client, **query)


def test_a_plus_that_became_a_space_is_explained(client):
    answer = client.http.get("/runs?created_after=2026-01-01T00:00:00+01:00")
    assert answer.status_code == 422
    assert "%2B" in answer.json()["hint"]


# ---- order and pages


def pages(client, size, **query):
    names, cursor = [], None
    while True:
        more = {"limit": size} | query | ({"cursor": cursor} if cursor else {})
        answer = client.http.get("/runs", params=more)
        assert answer.status_code == 200, answer.text
        names += [row["name"] for row in answer.json()["runs"]]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return names


@pytest.fixture
def mixed(client):
    """Runs with equal values, and with none, in every column that can be sorted by."""
    for i, (cost, tokens) in enumerate([(0.5, 8), (0.5, 8), (0.1, 20), (2.0, 3)]):
        a_run_of(client, f"n{i}", cost=cost, tokens=tokens, status="failed" if i == 2 else "done")
    for name in ("z-open", "a-open", None):
        client.send(client.create(name=name), [event("run_started", 1, {}), *a_model_call(2)])
    client.create(name="empty")


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_of_any_size_give_every_run_once_in_order_nulls_last(client, mixed, sort, direction):
    whole = client.http.get("/runs", params={"sort": f"{sort}:{direction}"}).json()["runs"]

    def value(row):
        if sort == "tokens":
            return row["input_tokens"] + row["output_tokens"]
        return row["cost_usd" if sort == "cost" else sort]

    there = [r for r in whole if value(r) is not None]
    expected = sorted(
        there, key=lambda row: (value(row), row["run_id"]), reverse=direction == "desc"
    )
    without = sorted(
        (r for r in whole if value(r) is None),
        key=lambda row: row["run_id"],
        reverse=direction == "desc",
    )
    assert [r["run_id"] for r in whole] == [r["run_id"] for r in expected + without]
    assert len(whole) == 8
    for size in (1, 3, 8):
        assert pages(client, size, sort=f"{sort}:{direction}") == [r["name"] for r in whole]


def test_names_go_up_and_all_else_down_if_not_said(client, mixed):
    assert found(client, sort="name")[:2] == ["a-open", "empty"]
    assert found(client, sort="cost")[0] == "n3"


def test_a_cursor_of_another_query_is_refused(client, mixed):
    cursor = client.http.get("/runs", params={"limit": 2, "sort": "cost"}).json()["next_cursor"]
    for query in ({}, {"sort": "cost:asc"}, {"sort": "cost", "status": "done"}, {"sort": "tokens"}):
        problem = refused(client, cursor=cursor, **query)
        assert problem["title"] == "the cursor belongs to another query"
    assert found(client, cursor=cursor, sort="cost:desc", limit=3)


def test_a_forged_place_in_a_cursor_is_refused(client, mixed):
    import base64

    cursor = client.http.get("/runs", params={"limit": 2}).json()["next_cursor"]
    mark, *_ = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    for place in (["soon", str(uuid4())], ["2026-01-01T00:00:00Z", "x"], [], [1, 2, 3]):
        forged = base64.urlsafe_b64encode(json.dumps([mark, *place]).encode()).decode()
        assert refused(client, cursor=forged)["where"] == "cursor"


def test_no_run_is_missed_or_shown_twice_while_others_are_added(client):
    before = [client.create(name=f"old{i}") for i in range(40)]
    stop = threading.Event()

    def add():
        while not stop.is_set():
            client.create(name="new")

    adding = threading.Thread(target=add)
    adding.start()
    try:
        for sort in ("created_at:desc", "created_at:asc", "name:desc", "events:asc"):
            ids, cursor = [], None
            while len(ids) < 2000:
                query = {"limit": 7, "sort": sort} | ({"cursor": cursor} if cursor else {})
                answer = client.http.get("/runs", params=query).json()
                ids += [row["run_id"] for row in answer["runs"]]
                cursor = answer["next_cursor"]
                if cursor is None or set(before) <= set(ids):
                    break
            assert len(ids) == len(set(ids))
            assert set(before) <= set(ids)
    finally:
        stop.set()
        adding.join()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_paging_is_right_for_any_rows_any_order_and_any_insertions(client, data):
    """The law: what was there at the first page is seen once, and in order; nothing twice."""
    tag = uuid4().hex
    made = {}

    def add(tokens):
        run_id = client.create(name=data.draw(st.sampled_from(["a", "b", None])), session=tag)
        if tokens is not None:
            call = a_model_call(1, input_tokens=tokens, cost_usd=float(tokens))
            client.send(run_id, call)
        made[run_id] = tokens

    amounts = st.one_of(st.none(), st.integers(0, 3))
    for tokens in data.draw(st.lists(amounts, min_size=1, max_size=8)):
        add(tokens)
    at_first = set(made)
    sort = data.draw(st.sampled_from(sorted(SORTS))) + data.draw(st.sampled_from([":asc", ":desc"]))
    size = data.draw(st.integers(1, 4))
    ids, cursor = [], None
    while True:
        query = {"limit": size, "sort": sort, "session": tag}
        page = client.http.get("/runs", params=query | ({"cursor": cursor} if cursor else {}))
        ids += [row["run_id"] for row in page.json()["runs"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
        if len(made) < 14 and data.draw(st.booleans()):
            add(data.draw(amounts))
    whole = client.http.get("/runs", params={"sort": sort, "session": tag}).json()["runs"]
    assert len(ids) == len(set(ids))
    assert at_first <= set(ids) <= set(made)
    assert ids == [row["run_id"] for row in whole if row["run_id"] in set(ids)]


# ---- search


@pytest.mark.parametrize(
    ("search", "groups"),
    [
        ("a b", [(["a", "b"], [])]),
        ('"a b" -c', [(["a b"], ["c"])]),
        ("a or b c", [(["a"], []), (["b", "c"], [])]),
        ('a OR -"b c', [(["a"], []), ([], ["b c"])]),
        ("or a or", [(["a"], [])]),
        ("e-mail - !", [(["e-mail"], [])]),
        ("-or", [([], ["or"])]),
    ],
)
def test_a_search_is_read_as_websearch_reads_it(search, groups):
    assert [(group.said, group.unsaid) for group in groups_of(search)] == groups


@given(st.text())
def test_any_search_is_read_or_refused(search):
    try:
        groups = groups_of(search)
    except UsageError:
        return
    assert all(group.said or group.unsaid for group in groups)


@pytest.fixture
def named(client):
    client.create(name="Refund incident", agent="desk:agent", labels={"suite": "banking", "n": 7})
    client.create(name="plain", source="agentdojo:gpt-4o/banking/user_task_0/none.json")
    client.create(name="Müller über 東京", session="night/2026-01-01", labels={"note": 'it\'s "x"'})


@pytest.mark.parametrize(
    ("search", "names"),
    [
        ("refund", ["Refund incident"]),
        ("REFUND incident", ["Refund incident"]),
        ('"incident refund"', []),
        ('"refund incident"', ["Refund incident"]),
        ("banking", ["plain", "Refund incident"]),
        ("banking -refund", ["plain"]),
        ("-banking", ["Müller über 東京"]),
        ("refund or plain", ["plain", "Refund incident"]),
        ("suite:banking", ["Refund incident"]),
        ("7", ["Refund incident"]),
        ("user_task_0", ["plain"]),
        ("desk", ["Refund incident"]),
        ("müller", ["Müller über 東京"]),
        ("東京", ["Müller über 東京"]),
        ("night", ["Müller über 東京"]),
        ("it's", ["Müller über 東京"]),
        ("nowhere", []),
        ("' or 1=1; --", []),
    ],
)
def test_names_labels_and_sources_are_searched_at_once(client, named, search, names):
    assert found(client, q=search) == names


def test_a_changed_name_or_label_is_found_and_the_old_one_is_not(client):
    run_id = client.create(name="before", labels={"k": "old"})
    client.http.patch(f"/runs/{run_id}", json={"name": "after", "labels": {"k": "new"}})
    assert (found(client, q="before"), found(client, q="old")) == ([], [])
    assert found(client, q="after new") == ["after"]


def test_messages_are_searched_once_the_worker_has_read_them(client, worker):
    run_id = client.create(name="asked", labels={"suite": "maths"})
    answered = a_message("the answer is forty-two", "assistant")
    call = a_model_call(2, outcome=answered[0])
    ended = event("run_ended", 4, {"writers": {"w": 4}}, status="done")
    client.send(run_id, [event("run_started", 1, {}), *call, ended], dict([answered]))
    assert found(client, q="maths") == ["asked"]
    assert until(lambda: found(client, q='"the answer is"')) == ["asked"]
    assert found(client, q="forty-two maths") == ["asked"]
    assert found(client, q='"is answer"') == found(client, q="answer -maths") == []
    assert found(client, q="answer", status="failed") == []
    assert client.row(run_id)["messages"] == 1


def test_a_search_sees_only_its_own_workspace(client, other):
    client.create(name="mine alone")
    other.create(name="theirs alone")
    assert found(client, q="alone") == ["mine alone"]
    assert found(other, q="alone") == ["theirs alone"]


def test_a_huge_label_is_stored_and_searched_by_its_beginning(client):
    client.create(name="huge", labels={"text": "needle " + "hay" * 400_000})
    assert found(client, q="needle") == ["huge"]


# ---- plans


@pytest.fixture(scope="module")
def full(postgres):
    """Many runs and messages of two workspaces, so that the planner has a choice."""
    with _database(postgres) as made, psycopg.connect(made.owner_url, autocommit=True) as owner:
        for workspace in (WORKSPACE, uuid4()):
            owner.execute("select set_config('workbench.workspace', %s, false)", [str(workspace)])
            owner.execute(
                "insert into runs (workspace_id, run_id, header_hash, name, session, created_at)"
                " select %s, gen_random_uuid(), '\\x00', 'run', 's' || i %% 100,"
                " now() - i * interval '1 s' from generate_series(1, 5000) i",
                [workspace],
            )
            owner.execute(
                "insert into messages_text select %s, gen_random_uuid(), i, to_tsvector('simple',"
                " 'word' || i || ' common') from generate_series(1, 30000) i",
                [workspace],
            )
        owner.execute("vacuum analyze")
        yield made


def plan_of(database, wanted, page):
    query, parameters, _ = compose(wanted, page)
    with psycopg.connect(database.app_url) as connection:
        connection.execute("select set_config('workbench.workspace', %s, true)", [str(WORKSPACE)])
        rows = connection.execute(
            b"explain (format json) " + query, parameters | {"workspace_id": WORKSPACE}
        ).fetchone()
    return json.dumps(rows[0])


@pytest.mark.parametrize(
    ("wanted", "sort", "index"),
    [
        ({}, None, "runs_recent"),
        ({}, "created_at:asc", "runs_recent"),
        ({}, "ended_at", "runs_ended"),
        ({"session": "s1"}, None, "runs_sessions"),
        ({"parent_run_id": str(uuid4())}, None, "runs_forks"),
        ({"source": "x"}, None, "runs_source"),
        ({"created_after": "2026-01-01"}, None, "runs_recent"),
    ],
)
def test_a_listing_goes_by_an_index(full, wanted, sort, index):
    plan = plan_of(full, Filter(**wanted), Page(limit=50, sort=sort))
    assert f'"Index Name": "{index}' in plan
    assert "Seq Scan" not in plan


def test_a_search_goes_by_the_index_of_words_and_never_through_the_table(full):
    usage = (
        "select (select idx_scan from pg_stat_user_indexes where indexrelname ="
        " 'messages_text_words'), (select seq_scan from pg_stat_user_tables"
        " where relname = 'messages_text')"
    )
    query, parameters, _ = compose(Filter(q="word77"), Page(limit=50))
    with psycopg.connect(full.owner_url, autocommit=True) as owner:
        before = owner.execute(usage).fetchone()
        with psycopg.connect(full.app_url) as connection:
            connection.execute(
                "select set_config('workbench.workspace', %s, true)", [str(WORKSPACE)]
            )
            connection.execute(query, parameters | {"workspace_id": WORKSPACE}).fetchall()
            connection.execute("select pg_stat_force_next_flush()")
        after = owner.execute(usage).fetchone()
    assert after == (before[0] + 1, before[1])
    assert "runs_saying" in plan_of(full, Filter(q="word77"), Page())


def test_words_that_are_said_everywhere_are_asked_of_each_run(full):
    page, wanted = Page(limit=50), Filter(q="common word77")
    query, parameters, _ = compose(wanted, page, often=frozenset(["common"]))
    with psycopg.connect(full.app_url) as connection:
        connection.execute("select set_config('workbench.workspace', %s, true)", [str(WORKSPACE)])
        often = connection.execute(
            queries("listing")["said_often"], {"terms": ["common", "word77", "none"], "most": 10000}
        ).fetchall()
        rows = connection.execute(
            b"explain (format json) " + query, parameters | {"workspace_id": WORKSPACE}
        ).fetchone()
    assert often == [("common",)]
    assert '"Index Name": "messages_text_key"' in json.dumps(rows[0])
    assert "runs_saying" in json.dumps(rows[0])
    assert "Seq Scan" not in json.dumps(rows[0])


def test_a_search_finds_the_same_whichever_way_its_words_are_asked(client, server, named):
    searches = ("banking", "banking -refund", "-banking", "refund or plain", '"refund incident"')
    for search in searches:
        wanted = Filter(q=search)
        terms = {t for g in groups_of(search) for t in (*g.said, *g.unsaid)}
        with psycopg.connect(server.database.app_url) as connection:
            connection.execute(
                "select set_config('workbench.workspace', %s, true)",
                [str(server.workspace.workspace_id)],
            )
            found = []
            for often in (frozenset(), frozenset(terms)):
                query, parameters, _ = compose(wanted, Page(), often=often)
                known = parameters | {"workspace_id": server.workspace.workspace_id}
                found.append(connection.execute(query, known).fetchall())
        assert found[0] == found[1]
        assert len(found[0]) == len(client.http.get("/runs", params={"q": search}).json()["runs"])


@pytest.mark.parametrize("walled", [True, False])
def test_the_way_for_common_words_keeps_to_its_own_workspace_by_itself(
    client, other, server, walled
):
    """As a role that no policy binds; without the condition the same run of another is heard."""
    run_id = client.create(name="mine")
    other.create(run_id=run_id, name="foreign")
    query, parameters, _ = compose(Filter(q="foreign"), Page(), often=frozenset(["foreign"]))
    if not walled:
        query = query.replace(b"t.workspace_id = %(workspace_id)s", b"true")
    with psycopg.connect(server.database.owner_url) as owner:
        known = parameters | {"workspace_id": server.workspace.workspace_id}
        rows = owner.execute(query, known).fetchall()
    assert len(rows) == (0 if walled else 1)


def test_the_words_of_other_workspaces_are_behind_the_wall(full):
    with psycopg.connect(full.app_url) as connection:
        connection.execute("select set_config('workbench.workspace', %s, true)", [str(WORKSPACE)])
        rows = connection.execute(
            "select distinct t.workspace_id from runs_saying('common') s (run_id)"
            " join messages_text t using (run_id)"
        ).fetchall()
        assert rows == [(WORKSPACE,)]
        count = connection.execute("select count(*) from runs_saying('common')").fetchone()
    assert count == (30000,)
    with psycopg.connect(full.app_url) as connection, pytest.raises(psycopg.Error):
        connection.execute("select * from runs_saying('common')")
