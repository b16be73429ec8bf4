"""The commands of the service; each prints one line of what it did, or one error."""

from __future__ import annotations

import argparse
import json
import os
import sys

from workbench.errors import StackError, StoreError, WorkbenchError
from workbench.masking import without_secrets
from workbench_server.configuration import Configuration


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 2 means wrong use, 3 that something could not be reached."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(Configuration.from_environment(), options) or 0)
    except WorkbenchError as error:
        said = without_secrets(f"{error.code}: {error}")
        print(said, file=sys.stderr)  # noqa: T201 - a command talks to its user
        return 3 if isinstance(error, (StackError, StoreError)) else 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workbench_server")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    migrate = commands.add_parser("migrate", help="make roles, schemas and tables, as the owner")
    migrate.set_defaults(run=_migrate)
    workspace = commands.add_parser(
        "workspace", help="make a workspace, with the key of WORKBENCH_API_KEY, as the owner"
    )
    workspace.add_argument("name")
    workspace.add_argument("--role", default="admin", choices=["reader", "writer", "admin"])
    workspace.set_defaults(run=_workspace)
    serve = commands.add_parser("serve", help="answer HTTP, as workbench_app")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8600, help="0 takes a free one")
    serve.add_argument("--socket", help="a path to listen at as well, for this machine alone")
    serve.set_defaults(run=_serve)
    worker = commands.add_parser("worker", help="run jobs and snapshots, as workbench_worker")
    worker.set_defaults(run=_worker)
    return parser


def _migrate(configuration: Configuration, _: argparse.Namespace) -> int:
    from workbench_server.migrate import migrate

    applied = migrate(configuration)
    print(json.dumps({"applied": applied}))  # noqa: T201 - the command's answer
    return 0


def _workspace(configuration: Configuration, options: argparse.Namespace) -> int:
    from workbench_server.workspaces import create_workspace

    key = os.environ.get("WORKBENCH_API_KEY", "")
    made = create_workspace(
        configuration.need("database_url"), name=options.name, key=key, role=options.role
    )
    print(json.dumps({"workspace_id": str(made), "name": options.name}))  # noqa: T201 - as above
    return 0


def _serve(configuration: Configuration, options: argparse.Namespace) -> int:
    from workbench_server.serving import serve

    return serve(configuration, host=options.host, port=options.port, local_socket=options.socket)


def _worker(configuration: Configuration, _: argparse.Namespace) -> int:
    from workbench_server.worker import work

    return work(configuration)
