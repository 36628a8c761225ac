"""What pages with routes of their own share."""

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from vjserver.controls.web.asked import check_sure, files_of, json_of, told, within


@pytest.fixture
def client(tmp_path):
    (tmp_path / "page.css").write_text("a {}", encoding="utf-8")
    (tmp_path / "secret.key").write_text("secret", encoding="utf-8")

    async def delete(request):
        await check_sure(request)
        return json_of({"deleted": True})

    routes = [
        Route("/files/{name}", files_of(within(tmp_path))),
        Route("/delete", told(delete), methods=["POST"]),
    ]
    return TestClient(Starlette(routes=routes))


def test_a_file_is_found_by_its_name(client):
    answer = client.get("/files/page.css")
    assert (answer.status_code, answer.text) == (200, "a {}")


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 5000 + ".css", "%00.css", "nothing.css", "secret.key"])
def test_a_name_that_none_has_is_not_found(client, name):
    assert client.get(f"/files/{name}").status_code == 404


@pytest.mark.parametrize("order", [b"{}", b'{"everything": false}', b'{"everything": 1}', b"[", b""])
def test_everything_is_deleted_only_for_who_says_so(client, order):
    answer = client.post("/delete", content=order)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_who_says_so_is_heard(client):
    assert client.post("/delete", content=b'{"everything": true}').json() == {"deleted": True}
