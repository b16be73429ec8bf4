"""Files kept beside the log, by the sha-256 of their bytes."""

import asyncio
import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from workbench.errors import ArtifactNotFound, InvalidEvent, UnsupportedMedia
from workbench.hashing import is_sha256
from workbench_server.access import Caller, Reader, Writer
from workbench_server.artifacts import Wanted, list_artifacts
from workbench_server.database import transaction
from workbench_server.limits import limits_of, read_body
from workbench_server.listing import MOST_LISTED
from workbench_server.queries import queries
from workbench_server.routes.answers import answer
from workbench_server.storage import get, put

router = APIRouter(tags=["artifacts"])

_ANY = "application/octet-stream"
_MOST_MEDIA_TYPE = 255
_MEDIA_TYPE = re.compile(
    r"[\w.+-]+/[\w.+-]+(\s*;\s*[\w.-]+=[\w.+/:-]+|\s*;\s*[\w.-]+=\"[^\"\\]*\")*", re.ASCII
)


@router.put("/artifacts/{sha256}", status_code=201)
async def put_artifact(request: Request, caller: Writer, sha256: str) -> Response:
    """Keep the bytes; their digest has to be the address."""
    request.app.state.rates.check(caller)
    media_type = _media_type(request)
    data = await read_body(request, most=limits_of(request).artifact_bytes)
    request.app.state.rates.admit(caller, bytes=len(data))
    found = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    if found != sha256:
        raise InvalidEvent("the digest is not that of the bytes", expected=sha256[:80], found=found)
    await put(request.app.state.storage, _path(request, caller, sha256), data)
    facts = {
        "workspace_id": caller.workspace_id,
        "sha256": bytes.fromhex(sha256),
        "size": len(data),
        "media_type": media_type,
    }
    async with transaction(request.app.state.pool, caller.workspace_id) as connection:
        await connection.execute(queries("reading")["put_artifact"], facts)
    return answer({"sha256": sha256, "size": len(data)}, status=201)


@router.get("/artifacts")
async def listing(
    request: Request,
    caller: Reader,
    *,
    run_id: str | None = None,
    sha256: str | None = None,
    entity_type: str | None = None,
    media_type: str | None = None,
    tag: Annotated[list[str] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 200,
    cursor: str | None = None,
) -> Response:
    """List what runs made, newest first, in pages."""
    wanted = Wanted(
        run_id=run_id, sha256=sha256, entity_type=entity_type, media_type=media_type, tag=tag
    )
    pool, workspace_id = request.app.state.pool, caller.workspace_id
    return answer(
        await list_artifacts(pool, workspace_id, wanted=wanted, limit=limit, cursor=cursor)
    )


@router.get("/artifacts/{sha256}")
async def get_artifact(request: Request, caller: Reader, sha256: str) -> Response:
    """Return the bytes."""
    facts = {"workspace_id": caller.workspace_id}
    if not is_sha256(sha256):
        raise ArtifactNotFound("an artifact's address is a hex sha-256", where=sha256[:80])
    async with transaction(request.app.state.pool, caller.workspace_id) as connection:
        rows = await connection.execute(
            queries("reading")["artifact"], facts | {"sha256": bytes.fromhex(sha256)}
        )
        row = await rows.fetchone()
    if row is None:
        raise ArtifactNotFound("no artifact of this sha-256", where=sha256)
    data = await get(request.app.state.storage, _path(request, caller, sha256))
    # Whatever it says it is: a browser keeps it as a file and never runs it as a page of ours.
    kept = {"Content-Disposition": f'attachment; filename="{sha256}"'}
    return Response(data, headers=kept | {"Content-Type": row["media_type"]})


def _media_type(request: Request) -> str:
    said = request.headers.get("content-type", "").strip() or _ANY
    if len(said) > _MOST_MEDIA_TYPE or not _MEDIA_TYPE.fullmatch(said):
        raise UnsupportedMedia(
            "the media type is none",
            where="Content-Type",
            expected="type/subtype, with parameters where it has any",
            found=said[:80],
            hint=f"Leave it out, and the bytes are kept as {_ANY}.",
        )
    return said


def _path(request: Request, caller: Caller, sha256: str) -> str:
    path: str = request.app.state.storage.path(caller.workspace_id, "artifacts", sha256)
    return path
