import pytest
from tests.unit.server.wire import Echo, Wire, answer, request

from modelyard_server.http_messages import Limits, Response

LIMITS = Limits(head=512, headers=8, connections=1)
HOST = b"Host: server\r\n"
BIG = bytes(range(256)) * 600


def ask(data: bytes, piece: int = 1 << 20) -> tuple[bytes, bool]:
    """What is answered to ``data``, and whether the connection goes on."""
    wire = Wire(Echo(), LIMITS)
    wire.send(data, piece)
    return wire.taken(), not (wire.closed or wire.ended)


TABLE: dict[str, tuple[bytes, bytes, bool]] = {
    "a body": (request("POST", "/a", b"body"), answer(b"/a body"), True),
    "no body": (request("GET", "/a?q=1"), answer(b"/a?q=1 "), True),
    "two at once": (
        request("POST", "/a", b"1") + request("POST", "/b", b"2"),
        answer(b"/a 1") + answer(b"/b 2"),
        True,
    ),
    "a long body": (request("POST", "/a", BIG), answer(b"/a " + BIG), True),
    "a long body, then another request": (
        request("POST", "/a", BIG) + request("GET", "/b"),
        answer(b"/a " + BIG) + answer(b"/b "),
        True,
    ),
    "long bodies after each other": (
        request("POST", "/a", BIG) + request("POST", "/b", BIG[::-1]) + request("GET", "/c"),
        answer(b"/a " + BIG) + answer(b"/b " + BIG[::-1]) + answer(b"/c "),
        True,
    ),
    "chunks": (
        b"POST /a HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n",
        answer(b"/a abcde"),
        True,
    ),
    "empty lines before a request": (b"\r\n\r\n" + request("GET", "/a"), answer(b"/a "), True),
    "the client's last request": (
        request("GET", "/a", headers=[("Connection", "close")]) + request("GET", "/b"),
        answer(b"/a ", close=True),
        False,
    ),
    "HTTP/1.0": (b"GET /a HTTP/1.0\r\n\r\n", answer(b"/a ", close=True), False),
    "HTTP/1.0 that goes on": (b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", answer(b"/a "), True),
    "HEAD": (request("HEAD", "/a"), answer(b"/a ")[: -len(b"/a ")], True),
    "an upgrade that nobody asked for": (
        request("POST", "/a", b"body", [("Connection", "Upgrade"), ("Upgrade", "h2c")]) + request("GET", "/b"),
        answer(b"/a body") + answer(b"/b "),
        True,
    ),
    "an empty header": (request("GET", "/a", headers=[("X", "")]), answer(b"/a "), True),
}


@pytest.mark.parametrize("piece", [1 << 20, 7, 1])
@pytest.mark.parametrize("name", TABLE)
def test_requests_are_answered_however_they_are_torn(name: str, piece: int) -> None:
    data, expected, goes_on = TABLE[name]
    assert ask(data, piece) == (expected, goes_on)


def test_after_a_long_body_the_next_is_received_past_the_shared_buffer() -> None:
    wire = Wire(Echo())
    shared = len(wire.connection.get_buffer(-1))
    wire.send(request("POST", "/a", BIG))
    head = wire.connection.get_buffer(-1)
    assert len(head) * 16 <= shared
    wire.send(request("POST", "/a", BIG), piece=len(head))
    assert len(wire.connection.get_buffer(-1)) == len(head)
    wire.send(b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    assert len(wire.connection.get_buffer(-1)) == shared, "chunks need the parser anyway"
    wire.send(b"5\r\nshort\r\n0\r\n\r\n")
    assert len(wire.connection.get_buffer(-1)) == shared


REFUSED: dict[str, tuple[bytes, str]] = {
    "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00", "400 Bad Request"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 Bad Request"),
    "HTTP/3.0": (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "400 Bad Request"),
    "no method": (b" / HTTP/1.1\r\n\r\n", "400 Bad Request"),
    "a bad field name": (b"GET / HTTP/1.1\r\n" + HOST + b"a b: c\r\n\r\n", "400 Bad Request"),
    "white space before a colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 Bad Request"),
    "a folded field": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", "400 Bad Request"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", "400 Bad Request"),
    "a length that is no number": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na", "400 Bad Request"),
    "a negative length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", "400 Bad Request"),
    "a length beyond 64 bits": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n",
        "400 Bad Request",
    ),
    "two lengths": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "400 Bad Request",
    ),
    "a length and chunks": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400 Bad Request",
    ),
    "a chunk size that is no number": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
        "400 Bad Request",
    ),
    "a chunk size beyond 64 bits": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "400 Bad Request",
    ),
    "an unknown transfer coding": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "501 Not Implemented",
    ),
    "an unknown expectation": (request("POST", "/", b"a", [("Expect", "tea")]), "417 Expectation Failed"),
    "a tunnel": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "501 Not Implemented"),
    "a long target": (request("GET", "/" + "a" * 512), "431 Request Header Fields Too Large"),
    "a long field": (request("GET", "/", headers=[("X", "a" * 512)]), "431 Request Header Fields Too Large"),
    "a head without an end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 600, "431 Request Header Fields Too Large"),
    "many fields": (request("GET", "/", headers=[("X", "")] * 8), "431 Request Header Fields Too Large"),
    "chunks above the limit": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n41\r\n" + b"a" * 65 + b"\r\n0\r\n\r\n",
        "413 Request Entity Too Large",
    ),
}


@pytest.mark.parametrize("piece", [1 << 20, 3])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_is_answered_once_and_ends_the_connection(name: str, piece: int) -> None:
    data, status = REFUSED[name]
    sent, goes_on = ask(data + request("GET", "/never"), piece)
    assert sent.startswith(f"HTTP/1.1 {status}\r\n".encode())
    assert (sent.count(b"content-length: "), sent.count(b"connection: close"), goes_on) == (1, 1, False)


def test_trailers_without_an_end_are_refused() -> None:
    sent, _ = ask(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 600, 99)
    assert sent.startswith(b"HTTP/1.1 431 ")


def test_requests_that_came_before_a_broken_one_are_answered() -> None:
    sent, _ = ask(request("GET", "/a") + b"nonsense\r\n\r\n")
    assert sent.startswith(answer(b"/a ") + b"HTTP/1.1 400 ")


def test_answers_keep_the_order_of_requests() -> None:
    echo = Echo(at_once=False)
    wire = Wire(echo)
    wire.send(request("GET", "/a") + request("GET", "/b"))
    assert [exchange.request.target for exchange in echo.held] == [b"/a"]
    echo.release()
    assert [exchange.request.target for exchange in echo.held] == [b"/b"]
    echo.release()
    assert wire.taken() == answer(b"/a ") + answer(b"/b ")


def test_a_client_that_sends_ahead_is_read_no_further_until_it_has_its_answers() -> None:
    echo = Echo(at_once=False)
    wire = Wire(echo)
    wire.send(request("GET", "/a") * 2)
    assert not wire.reading
    echo.release()
    assert wire.reading


def test_a_client_that_waits_to_be_told_is_told_to_go_on() -> None:
    wire = Wire(Echo())
    wire.send(request("POST", "/a", b"body", [("Expect", "100-continue")])[: -len(b"body")])
    assert wire.taken() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"body")
    assert wire.taken() == answer(b"/a body")


def test_a_client_that_does_not_wait_is_not_told() -> None:
    assert ask(request("POST", "/a", b"body", [("Expect", "100-continue")])) == (answer(b"/a body"), True)


def test_a_client_that_waits_is_refused_without_its_body() -> None:
    echo = Echo()
    echo.refusal = Response(503, (b"busy",), b"text/plain")
    wire = Wire(echo)
    wire.send(request("POST", "/a", b"body", [("Expect", "100-continue")])[: -len(b"body")])
    assert (wire.taken(), wire.ended) == (answer(b"busy", "503 Service Unavailable", close=True), True)


def test_a_short_body_of_a_refused_request_is_dropped_and_the_connection_kept() -> None:
    echo = Echo()
    echo.refusal = Response(503, (b"busy",), b"text/plain")
    wire = Wire(echo)
    wire.send(request("POST", "/a", b"body") * 2, piece=5)
    assert (wire.taken(), wire.closed) == (answer(b"busy", "503 Service Unavailable") * 2, False)
    assert (len(echo.held), len(echo.ended)) == (0, 2)


def test_a_long_body_of_a_refused_request_is_not_read_but_its_client_sees_the_answer() -> None:
    echo = Echo()
    echo.refusal = Response(413, (b"large",), b"text/plain")
    wire = Wire(echo)
    wire.send(request("POST", "/a", BIG), piece=1000)
    assert wire.taken() == answer(b"large", "413 Request Entity Too Large", close=True)
    assert (wire.ended, wire.closed) == (True, False)
    wire.pass_time(LIMITS.linger_seconds)
    assert wire.closed


@pytest.mark.parametrize(
    ("data", "seconds", "answered"),
    [
        (b"", LIMITS.idle_seconds, b""),
        (request("GET", "/a"), LIMITS.idle_seconds, answer(b"/a ")),
        (b"GET /a", LIMITS.head_seconds, b"HTTP/1.1 408 "),
        (request("POST", "/a", b"body")[:-1], LIMITS.body_seconds + 1, b"HTTP/1.1 408 "),
        (request("POST", "/a", BIG)[:-1], LIMITS.seconds_for_body(len(BIG)), b"HTTP/1.1 408 "),
    ],
)
def test_slow_clients_lose_their_connection(data: bytes, seconds: float, answered: bytes) -> None:
    wire = Wire(Echo())
    wire.send(data)
    wire.pass_time(seconds - 1)
    assert not (wire.closed)
    assert not (wire.ended)
    wire.pass_time(1)
    assert wire.closed or wire.ended
    assert wire.taken().startswith(answered)


def test_a_trickle_does_not_extend_the_time() -> None:
    wire = Wire(Echo())
    for byte in b"GET /a":
        wire.send(bytes([byte]))
        wire.pass_time(LIMITS.head_seconds / 5)
    assert wire.taken().startswith(b"HTTP/1.1 408 ")


def test_a_request_that_takes_long_to_answer_keeps_its_connection() -> None:
    echo = Echo(at_once=False)
    wire = Wire(echo)
    wire.send(request("GET", "/a"))
    wire.pass_time(3600)
    echo.release()
    assert wire.taken() == answer(b"/a ")


def test_a_client_that_takes_no_answers_is_sent_no_more_and_then_cut_off() -> None:
    wire = Wire(Echo())
    wire.connection.pause_writing()
    wire.send(request("GET", "/a"))
    assert wire.taken() == b""
    wire.connection.resume_writing()
    assert wire.taken() == answer(b"/a ")
    wire.connection.pause_writing()
    wire.pass_time(LIMITS.write_seconds)
    assert wire.closed


def test_a_client_that_leaves_has_its_work_dropped() -> None:
    echo = Echo(at_once=False)
    wire = Wire(echo)
    wire.send(request("GET", "/a") + request("POST", "/b", b"body")[:-1])
    dropped: list[str] = []
    echo.held[0].on_gone = lambda: dropped.append("a")
    wire.hang_up()
    echo.release()
    assert (dropped, wire.taken(), len(echo.ended)) == (["a"], b"", 2)
    assert not wire.endpoint.connections


def test_a_handler_that_closes_does_so_after_the_last_request_that_came() -> None:
    echo = Echo()
    echo.closing = True
    wire = Wire(echo)
    wire.send(request("GET", "/a") + request("GET", "/b"))
    assert (wire.taken(), wire.closed) == (answer(b"/a ") + answer(b"/b ", close=True), True)


def test_a_connection_above_the_limit_is_told_so() -> None:
    wire = Wire(Echo(), Limits(connections=0))
    assert (wire.taken()[:13], wire.ended) == (b"HTTP/1.1 503 ", True)


def test_idle_connections_can_be_closed_while_others_go_on() -> None:
    echo = Echo(at_once=False)
    busy, idle = Wire(echo), Wire(echo)
    busy.send(request("GET", "/a"))
    for wire in (busy, idle):
        wire.endpoint.close_idle()
    assert (busy.closed, idle.closed) == (False, True)
