"""Who is let in: the checks, and a hostile client against the real server."""

import json
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.page.place import PageError, is_loopback
from monitor.page.security import (
    COOKIE,
    Access,
    Asked,
    Attempts,
    Codes,
    hosts,
    is_session,
    new_session,
    policy,
    refusal,
)
from monitor.page.server import Reach
from tests.served import PROGRAM, free_port, served

HERE = Access(hosts(["localhost", "127.0.0.1", "::1"], 8480, tls=False), tls=False)
GUARDED = Access(hosts(["laptop.local"], 8480, tls=True), tls=True, token="right")
NOW_S = 1_800_000_000.0


def status(asked, access=HERE):
    refused = refusal(asked, access, NOW_S)
    return refused.status if refused else 200


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("127.0.0.1:8480", 200), ("localhost:8480", 200), ("LOCALHOST:8480", 200), ("[::1]:8480", 200),
        ("evil.example:8480", 421), ("127.0.0.1", 421), ("127.0.0.1:80", 421), ("", 421),
        ("localhost:8480.evil.example", 421), ("localhost:8480, evil.example", 421),
    ],
)  # fmt: skip
def test_only_our_names_are_answered(host, wanted):
    """A name of somebody else that points here is DNS rebinding."""
    assert status(Asked("GET", "/", host)) == wanted


@pytest.mark.parametrize(
    ("origin", "site", "wanted"),
    [
        ("http://127.0.0.1:8480", "same-origin", 200),
        (None, None, 200),  # a program
        ("http://evil.example", "cross-site", 403),
        ("null", "cross-site", 403),
        ("https://127.0.0.1:8480", None, 403),
        ("http://127.0.0.1:8481", "same-site", 403),
        (None, "cross-site", 403),
    ],
)
def test_a_write_comes_from_our_page_or_a_program(origin, site, wanted):
    """Else it is a foreign site that uses our reader's browser."""
    assert status(Asked("POST", "/api/v1/triggers", "127.0.0.1:8480", origin, site)) == wanted
    assert status(Asked("GET", "/api/v1/status", "127.0.0.1:8480", origin, site)) == 200


def test_a_socket_comes_from_our_page():
    """There is no program that needs one."""
    assert status(Asked("GET", "/_nicegui_ws/", "127.0.0.1:8480", "http://127.0.0.1:8480", socket=True)) == 200
    for origin in (None, "http://evil.example", "null"):
        assert status(Asked("GET", "/_nicegui_ws/", "127.0.0.1:8480", origin, socket=True)) == 403


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/a/%2e%2e/b", "/a/%252e%252e/b", "/a\\b", "/a%5cb", "//x", "/a%00"]
)
def test_no_path_climbs(path):
    """Whoever decodes it, and however often."""
    assert status(Asked("GET", path, "127.0.0.1:8480")) == 404


def test_without_the_token_there_is_only_the_way_in():
    """Not an asset of NiceGUI, not the document of the interface."""
    for path in (
        "/",
        "/api/v1/status",
        "/metrics",
        "/report",
        "/_nicegui/3/static/nicegui.js",
        "/api/v1/openapi.json",
    ):
        assert status(Asked("GET", path, "laptop.local:8480"), GUARDED) == 401
    for path in ("/login", "/healthz", "/assets/style.css"):
        assert status(Asked("GET", path, "laptop.local:8480"), GUARDED) == 200
    assert status(Asked("GET", "/", "laptop.local:8480", bearer="wrong"), GUARDED) == 401
    assert status(Asked("GET", "/", "laptop.local:8480", bearer="right"), GUARDED) == 200
    session = new_session("right", NOW_S)
    assert status(Asked("GET", "/", "laptop.local:8480", session=session), GUARDED) == 200
    assert status(Asked("GET", "/", "laptop.local:8480", session=new_session("other", NOW_S)), GUARDED) == 401


@given(st.text(max_size=200))
def test_no_session_is_made_up(text):
    """Nor does any text raise."""
    assert not is_session(text, "right", NOW_S)


@given(st.integers(0, 200), st.text(min_size=1, max_size=3))
def test_a_changed_session_is_none(at, put):
    """Each of its characters is signed."""
    session = new_session("right", NOW_S)
    changed = session[:at] + put + session[at + len(put) :]
    assert changed == session or not is_session(changed, "right", NOW_S)
    assert not is_session(session, "right", NOW_S + 31 * 86400)


def test_guessing_is_slowed_down():
    """Five a minute from an address, thirty in all."""
    attempts = Attempts()
    for _ in range(5):
        assert attempts.allowed("a", NOW_S)
        attempts.failed("a", NOW_S)
    assert not attempts.allowed("a", NOW_S + 59)
    assert attempts.allowed("b", NOW_S + 59)
    assert attempts.allowed("a", NOW_S + 61)
    for n in range(30):
        attempts.failed(f"address {n}", NOW_S + 70)
    assert not attempts.allowed("fresh", NOW_S + 71)


def test_a_code_is_good_once_and_for_ten_minutes():
    """A link that was seen by another is of no use."""
    codes = Codes()
    code, late = codes.new(NOW_S), codes.new(NOW_S)
    assert codes.used(code, NOW_S)
    assert not codes.used(code, NOW_S)
    assert not codes.used(late, NOW_S + 601)
    assert not codes.used("", NOW_S)


def test_a_policy_names_no_foreign_host():
    """No host at all, and no inline script without the nonce."""
    said = policy("n0nce", page=True)
    assert "://" not in said
    assert "*" not in said
    assert "script-src 'self' 'nonce-n0nce' 'unsafe-eval'" in said
    assert "'none'" in policy("", page=False)


def test_on_a_network_a_token_and_tls_are_needed(tmp_path):
    """Each refusal says what to do; loopback needs neither."""
    Reach("127.0.0.1", 8480).checked()
    assert [is_loopback(each) for each in ("::1", "0.0.0.0", "example")] == [True, False, False]
    with pytest.raises(PageError, match="needs a token") as error:
        Reach("0.0.0.0", 8480).checked()
    assert "--phone" in error.value.remedy
    with pytest.raises(PageError, match="needs TLS"):
        Reach("192.168.1.5", 8480, token="x").checked()
    Reach("192.168.1.5", 8480, token="x", plain_http=True).checked()
    Reach("192.168.1.5", 8480, token="x", certificate=tmp_path, key=tmp_path).checked()


# Against the real server ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with served(tmp_path_factory.mktemp("hostile")) as running:
        yield running


def test_strangers_are_turned_away(page):
    """By name, by origin, by path; the answer is short and holds nothing of ours."""
    assert page.ask("GET", "/", headers={"Host": "evil.example"})[0] == 421
    assert page.ask("GET", "/api/v1/status", headers={"Host": "evil.example"})[0] == 421
    foreign = {"Origin": "http://evil.example"}
    for method, path in (("POST", "/api/v1/triggers"), ("DELETE", "/api/v1/triggers/1"), ("POST", "/login")):
        assert page.ask(method, path, {}, foreign)[0] == 403
    assert page.ask("GET", "/_nicegui_ws/socket.io/?EIO=4&transport=polling")[0] == 400
    for path in ("/assets/../security.py", "/assets/%2e%2e%2fsecurity.py", "/assets/..%5csecurity.py",
                 "/_nicegui/3.18.0/static/../../../../etc/passwd", "/assets/page.token"):  # fmt: skip
        status, _, body = page.ask("GET", path)
        assert status == 404
        assert b"Guard" not in body
        assert b"root:" not in body


def test_every_answer_has_our_headers(page):
    """Pages, data, assets, refusals; pages with a nonce that is never the same."""
    nonces = set()
    for path in ("/", "/log", "/login", "/api/v1/status", "/metrics", "/assets/style.css", "/nothing"):
        _, headers, body = page.ask("GET", path, headers={"Accept": "text/html"})
        assert headers["x-content-type-options"] == "nosniff", path
        said = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in said
        assert "://" not in said
        if headers["content-type"].startswith("text/html"):
            nonce = said.split("'nonce-")[1].split("'")[0]
            assert body.count(b"<script") == body.count(f'<script nonce="{nonce}"'.encode())
            assert b"<script" in body or path == "/nothing"
            nonces.add(nonce)
    assert len(nonces) == 4


def test_without_data_there_are_words(page):
    """Nothing was ever stored: each says so, also what is computed in another process."""
    for path in ("/api/v1/twitches", "/api/v1/findings", "/api/v1/export/twitches", "/api/v1/alerts"):
        status, _, body = page.ask("GET", path)
        assert (status, b"Start monitoring first" in body) == (503, True), path
    for path in ("/", "/log", "/history", "/answers", "/alerts", "/setup"):
        assert page.ask("GET", path)[0] == 200, path
    assert page.ask("GET", "/report")[0] == 503


def test_what_is_not_there_is_said_to_people_and_programs(page):
    """HTML to a browser, of ours and without scripts; JSON to whatever asks the API."""
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path, status, said in (
        ("/nothing", 404, b"There is nothing of this name"),
        ("/assets/nothing", 404, b"There is nothing of this name"),
        ("/report", 503, b"Start monitoring first"),
    ):
        found, headers, body = page.ask("GET", path, headers=browser)
        assert (found, headers["content-type"]) == (status, "text/html; charset=utf-8"), path
        assert said in body, path
        assert (b"style.css" in body, b"<script" in body) == (True, False), path
    found, headers, body = page.ask("GET", "/api/v1/nothing", headers=browser)
    assert (found, "detail" in json.loads(body)) == (404, True)


def test_forwarded_headers_are_not_believed(page):
    """There is no proxy; NiceGUI would put a prefix of theirs into every page."""
    _, _, body = page.ask("GET", "/", headers={"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example"})
    assert b"evil" not in body


def test_a_huge_body_is_refused(page):
    """Announced or not; what comes is not read to its end."""
    assert page.ask("POST", "/api/v1/triggers", b"x" * (2 << 20))[0] == 413
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as raw:
        head = f"POST /api/v1/triggers HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nTransfer-Encoding: chunked\r\n"
        raw.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
        for _ in range(40):
            try:
                raw.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            except OSError:  # hung up on, which is as good
                return
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_a_thousand_connections_keep_nobody_out_for_long(page):
    """Idle ones, that say nothing; when they leave, all is as it was."""
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(("127.0.0.1", page.port), timeout=10))
        assert page.process.poll() is None
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if page.ask("GET", "/healthz")[0] == 200:
            break
    assert page.ask("GET", "/healthz")[0] == 200


def upgraded(port, origin):
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    raw.sendall(
        f"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n".encode()
    )
    return raw, raw.recv(100).split(b" ")[1]


def test_sockets_are_ours_and_have_an_end(page):
    """Not from another site; and no more than 64."""
    raw, answered = upgraded(page.port, "http://evil.example")
    raw.close()
    assert answered == b"403"
    with ExitStack() as stack:
        told = []
        for _ in range(80):
            raw, answered = upgraded(page.port, page.url)
            stack.enter_context(raw)
            told.append(answered)
        assert told.count(b"101") == 64
        assert set(told) == {b"101", b"403"}
        assert page.ask("GET", "/healthz")[0] == 200


def test_files_are_a_persons_own(page):
    """Whatever the page has made in the data folder."""
    assert page.ask("POST", "/api/v1/triggers", {"kind": "caffeine"})[0] == 201
    made = [file for file in page.folder.rglob("*") if file.is_file()]
    assert made
    assert {oct(file.stat().st_mode & 0o777) for file in made} == {"0o600"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """With a token, without TLS, for a plain client."""
    folder = tmp_path_factory.mktemp("guarded")
    with served(folder, token="the token") as running:
        yield running


def test_the_token_lets_in_and_nothing_else_does(guarded):
    """By the form, which gives a cookie that scripts cannot read; or by its header; wrong ones are slowed down."""
    assert guarded.ask("GET", "/api/v1/status")[0] == 401
    status, headers, _ = guarded.ask("GET", "/", headers={"Accept": "text/html"})
    assert (status, headers["location"]) == (303, "/login")
    assert guarded.ask("GET", "/api/v1/status", headers={"Authorization": "Bearer the token"})[0] == 200
    status, headers, _ = guarded.ask("POST", "/login", {"token": "the token"})
    assert status == 204
    cookie = headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert guarded.ask("GET", "/api/v1/status", headers={"Cookie": cookie.split(";")[0]})[0] == 200
    for body in ({"token": ""}, {"token": None}, {}, [], {"token": ["the token"]}, b"\xff"):
        assert guarded.ask("POST", "/login", body)[0] in (400, 401, 422, 429)
    told = [guarded.ask("POST", "/login", {"token": f"guess {n}"})[0] for n in range(6)]
    assert told[-1] == 429
    assert guarded.ask("GET", "/api/v1/status", headers={"Authorization": "Bearer the token"})[0] == 429


def test_a_phone_gets_in_by_its_link(tmp_path):
    """`--phone`: a certificate and a token of our own, TLS, a link that works once."""
    port = free_port()
    command = [PROGRAM, "page", "--phone", "--no-open", "--data", tmp_path, "--port", str(port)]
    page = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        said = ""
        for line in page.stderr:
            said += line
            if line.startswith("the page:"):
                break
        code = re.search(r"login#(\S+)", said)[1]
        context = ssl.create_default_context(cafile=tmp_path / "page.crt")

        def enter():
            request = urllib.request.Request(
                f"https://localhost:{port}/login", json.dumps({"token": code}).encode(),
                {"Content-Type": "application/json", "Origin": f"https://localhost:{port}"},
            )  # fmt: skip
            with urllib.request.urlopen(request, context=context, timeout=20) as answer:
                return answer.status, answer.headers["Set-Cookie"]

        status, cookie = enter()
        assert status == 204
        assert "Secure" in cookie
        with pytest.raises(urllib.error.HTTPError, match="401"):
            enter()
        for name in ("page.token", "page.crt", "page.key"):
            assert oct((tmp_path / name).stat().st_mode & 0o777) == "0o600"
    finally:
        page.terminate()
        page.communicate(timeout=30)
