"""Which requests are in the log."""

from modelyard_server.request_log import RequestLog


def test_one_line_a_second_for_each_way_to_end_says_how_many_there_were() -> None:
    lines: list[str] = []
    log = RequestLog(lambda text, *values: lines.append(text % values))
    for number in range(1000):
        log.note("v2", 200, 5.0, 5.0005 + number / 400)
    log.note("grpc", 400, 6.0, 6.25)
    assert lines == [
        "v2: 200 after 0.50 ms; 1 answered",
        "v2: 200 after 1000.50 ms; 400 answered",
        "v2: 200 after 2000.50 ms; 400 answered",
        "grpc: 400 after 250.00 ms; 1 failed",
    ]
