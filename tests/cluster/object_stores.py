"""A real S3 server of this machine that checks every signature, and ways to damage what lies in it."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import boto3

from waiting import until

BUCKET = "models"
_SET_UP = ("create_user", "create_access_key", "put_user_policy")
_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True)
class ObjectServer:
    """A running server with one bucket."""

    url: str
    secret: Mapping[str, str]
    """What a Secret with the keys to it holds."""

    def client(self) -> Any:
        """A client of another make than the one under test."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.secret["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.secret["AWS_SECRET_ACCESS_KEY"],
        )

    def names(self, prefix: str) -> list[str]:
        """The objects below a prefix of the bucket, without it."""
        found = self.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return sorted(each["Key"].removeprefix(prefix).lstrip("/") for each in found)

    def read(self, key: str) -> bytes:
        """The bytes of an object."""
        content: bytes = self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def write(self, key: str, content: bytes) -> None:
        """Put an object into the bucket."""
        self.client().put_object(Bucket=BUCKET, Key=key, Body=content)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.client().delete_object(Bucket=BUCKET, Key=key)

    def change_a_byte(self, key: str) -> None:
        """Damage an object, and leave its size as it was."""
        content = bytearray(self.read(key))
        content[len(content) // 2] ^= 1
        self.write(key, bytes(content))


@contextmanager
def object_server(folder: Path, host: str = "127.0.0.1", *, signed: bool = True) -> Iterator[ObjectServer]:
    """A server process with a bucket and a key of its own, asked for if ``signed``; its log is in ``folder``."""
    port = free_port(host)
    url = f"http://{host}:{port}"
    # So many actions need no key: those that make one.
    env = {**os.environ, **({"INITIAL_NO_AUTH_ACTION_COUNT": str(len(_SET_UP))} if signed else {})}
    with (folder / "object-server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", host, "-p", str(port)],
            env=env, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or _answers(url), "the S3 server answers", 120)
        server = ObjectServer(url, _new_keys(url))
        server.client().create_bucket(Bucket=BUCKET)
        yield server
    finally:
        process.kill()
        process.wait()


def _new_keys(url: str) -> Mapping[str, str]:
    iam = boto3.client(
        "iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
    )
    iam.create_user(UserName="modelyard")
    key = iam.create_access_key(UserName="modelyard")["AccessKey"]
    iam.put_user_policy(UserName="modelyard", PolicyName="all", PolicyDocument=json.dumps(_ALL))
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_ENDPOINT_URL": url,
    }


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/moto-api/", timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def free_port(host: str) -> int:
    """A port that nobody listens at."""
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def stalling_at(words: bytes, target: str) -> Iterator[tuple[str, Event]]:
    """A way to the server at ``target`` that passes no request on that begins with ``words``; the event is of one."""
    host, port = target.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    stalled = Event()

    def forward(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            Thread(target=_pump, args=(server, client), daemon=True).start()
            while chunk := _received(client):
                if words in chunk:
                    stalled.set()
                    continue
                server.sendall(chunk)

    def accept() -> None:
        while client := _accepted(listener):
            Thread(target=forward, args=(client,), daemon=True).start()

    Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", stalled
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accepted(listener: socket.socket) -> socket.socket | None:
    try:
        return listener.accept()[0]
    except OSError:
        return None


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def _pump(source: socket.socket, target: socket.socket) -> None:
    while chunk := _received(source):
        try:
            target.sendall(chunk)
        except OSError:
            return
