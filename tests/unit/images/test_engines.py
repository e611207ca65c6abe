import pytest

from engines import may_be_plain


@pytest.mark.parametrize(
    ("reference", "plain"),
    [
        ("127.0.0.1:5001/modelyard-server:0.1.0", True),
        ("[::1]:5001/modelyard-server:0.1.0", True),
        ("localhost:5001/modelyard-server:0.1.0", True),
        ("10.0.0.2/modelyard-server:0.1.0", True),
        ("registry.example/modelyard-server:0.1.0", False),
        ("registry.example:5001/modelyard-server:0.1.0", False),
    ],
)
def test_only_addresses_and_localhost_may_speak_plain_http(reference: str, *, plain: bool) -> None:
    assert may_be_plain(reference) == plain
