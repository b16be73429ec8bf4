import hashlib

import pytest


def test_an_artifact_is_kept_by_its_digest_and_given_back(client, server):
    data = bytes(range(256)) * 1000
    sha256 = hashlib.sha256(data).hexdigest()
    headers = {"Content-Type": "image/png"}
    for _ in range(2):
        answer = client.http.put(f"/artifacts/{sha256}", content=data, headers=headers)
        assert (answer.status_code, answer.json()["size"]) == (201, len(data))
    read = client.http.get(f"/artifacts/{sha256}")
    assert (read.content, read.headers["content-type"]) == (data, "image/png")
    folder = server.storage / "ws" / str(server.workspace.workspace_id) / "artifacts"
    assert [path.name for path in folder.iterdir()] == [sha256]


@pytest.mark.parametrize("address", ["0" * 64, "x", "..%2f..%2fetc"])
def test_bytes_of_another_digest_are_refused_and_not_kept(client, server, address):
    answer = client.http.put(f"/artifacts/{address}", content=b"data")
    assert answer.status_code in (404, 422)
    assert not (server.storage / "ws" / str(server.workspace.workspace_id)).exists()


def test_an_unknown_artifact_is_not_found(client, other):
    sha256 = hashlib.sha256(b"mine").hexdigest()
    other.http.put(f"/artifacts/{sha256}", content=b"mine")
    answer = client.http.get(f"/artifacts/{sha256}")
    assert (answer.status_code, answer.json()["code"]) == (404, "artifact_not_found")
