"""The published table of differences."""

from contextlib import AbstractContextManager
from pathlib import Path

from tests.conformance.checks import HTTP, TRANSPORTS, checks
from tests.conformance.compare import PAGE, Contender, Places, page, told


def test_the_page_is_of_the_present_suite() -> None:
    asked = list(checks())
    lines = PAGE.read_text().splitlines()
    for transport in (*TRANSPORTS, HTTP):
        count = sum(check.transport == transport for check in asked)
        (line,) = (each for each in lines if each.startswith(f"| {transport} |"))
        assert line.endswith(f"| {count} |"), "write it anew: python -m tests.conformance.compare"


def test_a_line_is_on_the_page_where_a_server_differs() -> None:
    check = next(checks())

    def none(_: Path) -> AbstractContextManager[Places]:
        raise AssertionError

    contenders = [Contender(name, "1", none) for name in ("A", "B")]
    differs = page(contenders, [check], {"A": [None], "B": ["expected bad,\n found outputs"]})
    assert f"| {check.name} | ✓ | `expected bad, found outputs` |" in differs
    assert check.name not in page(contenders, [check], {"A": [None], "B": [None]})


def test_what_differs_from_run_to_run_is_left_out() -> None:
    assert told('{"id": "4900599e-2ca0-4aad-8fb4-ddb269532cfb|"}') == '`{"id": "…\\|"}`'
