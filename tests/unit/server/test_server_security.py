import os
from pathlib import Path

import pytest

from modelyard_server.errors import RequestError, StartError
from modelyard_server.security import Tls, Token


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("secret\n")
    return file


def test_the_token_opens(file: Path) -> None:
    Token(file).check(b"bearer secret")


@pytest.mark.parametrize(
    "given", [None, b"", b"secret", b"Basic secret", b"Bearer", b"Bearer secre", b"Bearer secrets"]
)
def test_nothing_else_does(file: Path, given: bytes | None) -> None:
    with pytest.raises(RequestError, match="this service wants its bearer token") as refused:
        Token(file).check(given)
    assert (refused.value.status, refused.value.headers) == (401, ((b"www-authenticate", b"Bearer"),))


def test_a_new_token_replaces_the_old_one(file: Path) -> None:
    token = Token(file)
    file.write_text("other")
    os.utime(file, ns=(1, 1))
    token.refresh()
    token.check(b"Bearer other")
    with pytest.raises(RequestError):
        token.check(b"Bearer secret")


def test_a_token_that_goes_away_stays_valid(file: Path) -> None:
    token = Token(file)
    file.unlink()
    token.refresh()
    token.check(b"Bearer secret")


@pytest.mark.parametrize("text", [None, " \n"])
def test_without_a_token_the_server_does_not_start(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "token").write_text(text)
    with pytest.raises(StartError, match="must hold the bearer token") as failed:
        Token(tmp_path / "token")
    assert failed.value.reason == "TokenMissing"


def test_without_keys_the_server_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"tls\.crt and tls\.key do not load") as failed:
        Tls(tmp_path)
    assert failed.value.reason == "TlsKeysInvalid"
