"""Small hand-written files of the foreign formats, for one trap at a time."""

import json
from pathlib import Path, PurePath

from workbench import formats

DOJO_PATH = PurePath("/data/runs/some-pipeline/banking/user_task_0/none/none.json")


def dojo(messages, **facts):
    """Return an AgentDojo file as bytes."""
    record = {
        "suite_name": "banking",
        "pipeline_name": "local",
        "user_task_id": "user_task_0",
        "injection_task_id": None,
        "attack_type": None,
        "injections": {},
        "messages": messages,
        "error": None,
        "duration": 2.5,
        "utility": True,
        "security": False,
    }
    return json.dumps(record | facts).encode()


def dojo_call(function, arguments, id_=None):
    return {"function": function, "args": arguments, "id": id_}


def dojo_ask(*calls, content=None):
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def dojo_answer(content, call, *, error=None, id_=None):
    return {
        "role": "tool",
        "content": content,
        "tool_call_id": id_ if id_ is not None else call["id"],
        "tool_call": call,
        "error": error,
    }


def tau_bench(*records):
    """Return a tau-bench file as bytes, one record a line."""
    return b"[\n" + b",\n".join(json.dumps(record).encode() for record in records) + b"\n]"


def tau_bench_run(task=0, trial=0, *, traj=(), reward=1.0, **info):
    return {"task_id": task, "trial": trial, "reward": reward, "info": info, "traj": list(traj)}


def tau2(*simulations, agent="gpt-4.1", user="gpt-4.1", **agent_info):
    """Return a tau2 file as bytes."""
    info = {
        "agent_info": {"llm": agent, "llm_args": {"temperature": 0.0}} | agent_info,
        "user_info": {"llm": user, "llm_args": {}},
        "environment_info": {"domain_name": "retail"},
    }
    file = {"timestamp": "2025-07-17T15:11:06", "info": info, "tasks": []}
    return json.dumps(file | {"simulations": list(simulations)}, indent=1).encode()


def tau2_run(*messages, id_="sim-1", reward=1.0, **facts):
    return {
        "id": id_,
        "task_id": "7",
        "trial": 0,
        "start_time": "2025-07-17T15:10:58",
        "end_time": "2025-07-17T15:11:06",
        "duration": 7.5,
        "termination_reason": "user_stop",
        "reward_info": None if reward is None else {"reward": reward},
        "messages": list(messages),
    } | facts


def tau2_said(role, content, *, cost=None, tokens=None, calls=None, at=None):
    usage = None if tokens is None else {"prompt_tokens": tokens, "completion_tokens": 1}
    said = {"role": role, "content": content, "cost": cost, "usage": usage, "timestamp": at}
    return said | {"tool_calls": calls}


def tau2_call(name, arguments, *, id_="c", requestor="assistant"):
    return {"id": id_, "name": name, "arguments": arguments, "requestor": requestor}


def tau2_answer(content, *, error=False, id_="c", requestor="assistant", at=None):
    said = {"role": "tool", "content": content, "error": error, "id": id_, "timestamp": at}
    return said | {"requestor": requestor}


def traces_of(format_name, data, *, path=DOJO_PATH):
    """Read all records of a file's bytes."""
    context, pieces = formats.records(format_name, data, where="file.json")
    return [
        formats.trace(format_name, piece, context=context, path=Path(path), where="file.json")
        for piece in pieces
    ]


def runs_of(format_name, data, **options):
    """Import all records of a file's bytes."""
    return [formats.imported(trace) for trace in traces_of(format_name, data, **options)]


def run_of(format_name, data, **options):
    [run] = runs_of(format_name, data, **options)
    return run
