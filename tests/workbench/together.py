"""Whole groups of agents as one: a program that goes through all of them, one after the other."""

import asyncio
import inspect

import ended_agents
import function_agents
import lane_agents
import order_agents
import path_agents


def through(agents):
    """Return an agent that is all of them, and gives back what each gave or raised."""

    def agent(given):
        found = []
        for one in agents:
            try:
                gave = one(given)
                found.append(asyncio.run(gave) if inspect.iscoroutine(gave) else gave)
            except Exception as error:  # noqa: BLE001 - as whoever called it would see
                found.append(type(error).__name__)
        return found

    return agent


lanes = through(lane_agents.ALL)
ordered = through(order_agents.ORDERED)
loose = through(order_agents.LOOSE)
ended = through(ended_agents.ALL)
functions = through(function_agents.ALL)
paths = through([*path_agents.CLIENTS.values(), *vars(path_agents.seen).values()])
