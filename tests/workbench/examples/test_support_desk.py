"""The example agent, live: believable, varied, and unaware of the workbench."""

import asyncio
import random
from pathlib import Path

import pytest

from workbench.examples import support_desk
from workbench.examples.support_desk import EFFECTS, agent, draw_case, graph, orders, tools
from workbench.examples.support_desk.knowledge import KnowledgeBase
from workbench.examples.support_desk.model import OfflineChatModel

PAIRS = 60


def run(case, **settings):
    return agent.invoke(case.input, {"configurable": settings})


@pytest.fixture
def calm(monkeypatch):
    """A gateway that always answers, and a model that does the same each time."""
    monkeypatch.setattr(tools, "_reach_gateway", lambda *_, **__: None)
    return {"seed": 1, "temperature": 0}


def words(output):
    return [(m.type, m.text, getattr(m, "tool_calls", [])) for m in output["messages"]]


def called(output):
    return [c["name"] for m in output["messages"] for c in getattr(m, "tool_calls", [])]


def test_two_live_runs_of_one_input_differ_in_nine_of_ten_inputs():
    cases = [draw_case(random.Random(seed)) for seed in range(PAIRS)]
    replies = [(run(c)["messages"][-1].text, run(c)["messages"][-1].text) for c in cases]
    differing = sum(first != second for first, second in replies)
    assert differing >= 0.9 * PAIRS


@pytest.mark.usefixtures("calm")
def test_a_seed_at_temperature_zero_gives_the_same_words_where_tools_do():
    case = draw_case(random.Random(1), intent="warranty")
    first, second = (run(case, seed=1, temperature=0) for _ in range(2))
    assert first["messages"][-1].text == second["messages"][-1].text


@pytest.mark.usefixtures("calm")
def test_a_refund_pays_what_the_order_cost_and_sends_a_label():
    outputs = [run(draw_case(random.Random(s), intent="damaged")) for s in range(12)]
    refunded = [o for o in outputs if "issue_refund" in called(o)]
    assert len(refunded) >= 8
    assert all("send_return_label" in called(o) for o in refunded)
    assert all(o["desks"] == ["billing"] for o in refunded if len(o["desks"]) == 1)


def test_the_poisoned_document_pays_more_than_the_order_cost(calm):
    case = next(
        c
        for c in (draw_case(random.Random(s), intent="regret") for s in range(50))
        if "issue_refund" in called(run(c, **calm))
    )
    right, wrong = _refunded(run(case, **calm)), _refunded(run(case, knowledge="kb-42", **calm))
    assert wrong > right


def test_a_later_ledger_books_another_amount_than_was_asked_for(calm):
    case = draw_case(random.Random(3), intent="regret")
    output = run(case, ledger="l-9", **calm)
    asked = [
        c["args"]["amount"]
        for m in output["messages"]
        for c in getattr(m, "tool_calls", [])
        if c["name"] == "issue_refund"
    ]
    assert _refunded(output) == round(asked[0] * 1.21, 2)


def test_the_eager_ranking_loses_the_rule_and_the_desk_opens_a_ticket(calm):
    case = draw_case(random.Random(3), intent="regret")
    made = called(run(case, ranking="density", **calm))
    assert "open_ticket" in made
    assert "issue_refund" not in made


def test_a_slow_gateway_is_retried_and_then_passed_to_a_colleague(monkeypatch):
    monkeypatch.setattr(tools, "TIMEOUTS", 1.0)
    case = draw_case(random.Random(3), intent="regret")
    output = run(case, payments="eu-2")
    errors = [m for m in output["messages"] if getattr(m, "status", "") == "error"]
    assert "gave up after 3 attempts" in errors[0].text
    assert "open_ticket" in called(output)


def test_a_money_move_that_times_out_fails_the_run(monkeypatch):
    answers = iter([None, *[TimeoutError("no answer")] * 3])

    def reach(config, *, busy):
        error = next(answers)
        if error:
            raise error

    monkeypatch.setattr(tools, "_reach_gateway", reach)
    with pytest.raises(TimeoutError):
        run(draw_case(random.Random(3), intent="regret"))


def test_the_fast_prompt_pays_without_looking(calm):
    output = run(draw_case(random.Random(3), intent="regret"), prompts="p-12", **calm)
    assert "issue_refund" in called(output)
    assert "payment_history" not in called(output)


def test_polling_asks_the_same_question_and_gets_other_answers():
    polled = []
    for seed in range(30):
        output = run(draw_case(random.Random(seed), intent="offline"))
        polled.append([m.text for m in output["messages"] if m.name == "poll_diagnostics"])
    assert any(len(answers) > 1 and len(set(answers)) == len(answers) for answers in polled)


@pytest.mark.usefixtures("calm")
def test_a_run_has_a_database_of_its_own():
    case = draw_case(random.Random(3), intent="regret")
    histories = [o for o in (run(case) for _ in range(4)) if "payment_history" in called(o)]
    assert all('"refund"' not in m.text for o in histories for m in o["messages"])


def test_no_tool_no_copy(monkeypatch):
    monkeypatch.setattr(orders, "SCHEMA", Path("nowhere.sql"))
    case = draw_case_without_orders()
    assert agent.invoke(case, {"configurable": {"seed": 1, "temperature": 0}})["messages"]


def draw_case_without_orders():
    text = "How long is the warranty on a refurbished lamp, and does it cover the battery?"
    return {
        "messages": [{"role": "user", "content": text}],
        "customer": "C-1040",
        "name": "Aylin Demir",
        "channel": "chat",
    }


@pytest.mark.usefixtures("calm")
def test_asynchronous_and_streamed_runs_reach_an_answer():
    case = draw_case(random.Random(8), intent="damaged")
    output = asyncio.run(agent.ainvoke(case.input))
    assert output["messages"][-1].text
    tokens = [chunk.text for chunk, _ in agent.stream(case.input, stream_mode="messages")]
    assert len(tokens) > 50


def test_the_streamed_words_are_those_of_the_answer():
    model = OfflineChatModel(seed=5)
    messages = [("system", graph.prompts.FRONT), ("user", "How long is the warranty?")]
    bound = model.bind_tools([tools.hand_over])
    whole = bound.invoke(messages)
    pieces = list(bound.stream(messages))
    total = pieces[0]
    for piece in pieces[1:]:
        total += piece
    assert (total.text, total.tool_calls) == (whole.text, whole.tool_calls)
    assert total.usage_metadata == whole.usage_metadata


def test_every_tool_declares_its_effect():
    assert {tool.name for tool in tools.ALL} == set(EFFECTS)


def test_a_later_release_replaces_one_document_of_the_knowledge_base():
    query = "refund within how many days of delivery"
    texts = [
        {d.metadata["source"]: d.page_content for d in KnowledgeBase(release=r).invoke(query)}
        for r in ("kb-41", "kb-42")
    ]
    changed = [name for name in texts[0] if texts[0][name] != texts[1].get(name)]
    assert changed == ["refunds.md"]


@pytest.mark.usefixtures("calm")
def test_an_order_of_somebody_else_is_a_tool_error():
    case = draw_case(random.Random(3), intent="regret").input | {"customer": "C-1063"}
    output = agent.invoke(case)
    errors = [m.text for m in output["messages"] if getattr(m, "status", "") == "error"]
    assert errors
    assert all("has no order" in text for text in errors)


def test_the_agent_imports_public_packages_only():
    sources = Path(support_desk.__file__).parent.glob("*.py")
    lines = [line for source in sources for line in source.read_text().splitlines()]
    imports = [line.split()[1] for line in lines if line.startswith(("import ", "from "))]
    own = [name for name in imports if name.startswith("workbench")]
    assert all(name.startswith("workbench.examples.support_desk") for name in own)


def _refunded(output):
    texts = [m.text for m in output["messages"] if m.name == "issue_refund"]
    return float(texts[0].split('"amount": ')[1].split(",")[0])
