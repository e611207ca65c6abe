"""``compile_code.py FOLDER``: what every request passes through, compiled to machine code by mypyc, in that folder.

The modules stay beside what is made of them, which Python prefers. They run uncompiled on a laptop and in tests.
"""

import os
import shutil
import sys
from pathlib import Path

from mypyc.build import mypycify
from setuptools import setup

MODULES = (
    "app", "batch_queue", "batch_run", "batcher", "grpc_call", "grpc_codec", "grpc_connection", "grpc_head",
    "grpc_message", "grpc_methods", "grpc_raw", "http2_fields", "http2_frames", "http2_limits", "http2_reader",
    "http2_sender", "http2_session", "http2_stream", "http_body", "http_connection", "http_exchange", "http_head",
    "http_messages", "http_reader", "metrics", "request_log", "service", "v2", "v2_binary",
)  # fmt: skip


def main(folder: Path) -> None:
    """Raises SystemExit when a module does not compile."""
    os.chdir(folder)
    files = [f"modelyard_server/{module}.py" for module in MODULES]
    # The stage has no stubs; ``make check`` looks at the types with them.
    setup(
        name="modelyard_server",
        ext_modules=mypycify(["--ignore-missing-imports", *files], opt_level="3"),
        script_args=["--quiet", "build_ext", "--inplace"],
    )
    for left in ("build", ".mypy_cache"):
        shutil.rmtree(left, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
