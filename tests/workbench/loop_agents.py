"""Loops for replays: of raising parts, where any live call fails the test."""

import workbench as wb


class CalledLive(BaseException):
    """No loop takes it for a tool's error."""


def model(messages, tools):
    raise CalledLive("the model")


def tool(**arguments):
    raise CalledLive("a tool")


def human(messages):
    raise CalledLive("the human")


class EveryTool(dict):
    """Has every tool there is, and each of them raises."""

    def get(self, name, default=None):
        return tool


poisoned = wb.loop(model, [tool], human)
poisoned.tools = EveryTool()
