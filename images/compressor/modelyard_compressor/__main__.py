"""Start here: read the run file, walk, and leave a termination message and an exit code, whatever happens."""

import logging
import os
import signal
import sys
import traceback

import onnxruntime
from pydantic import ValidationError

from modelyard.contract import forward, layout
from modelyard.contract.compression import MemoryReport
from modelyard.contract.reports import EXIT_FAILED, EXIT_FINAL, ProgressReport, Termination
from modelyard.contract.runs import CompressRun
from modelyard.storage.errors import StorageError
from modelyard_compressor.failures import CompressionError
from modelyard_compressor.walk import compress

LOG = logging.getLogger("modelyard_compressor")
_ERROR = 3


def main() -> int:
    """Do what this pod's run file says.

    Returns 0, EXIT_FAILED, or EXIT_FINAL where another try would only repeat the outcome.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _configure_logging()
    (layout.root() / layout.WORK).mkdir(parents=True, exist_ok=True)
    termination, exit_code = _ending()
    if termination.outcome == "Failed":
        LOG.info("Failed (%s): %s", termination.reason, termination.message)
    termination.write()
    return exit_code


def _ending() -> tuple[Termination, int]:
    try:
        run = CompressRun.model_validate_json(layout.run_file().read_bytes())
        # onnxruntime sizes the sessions that it opens itself, to calibrate, from the host's cores (onnxruntime#29510).
        os.environ["ORT_INTRA_OP_NUM_THREADS"] = str(run.threads)
        for handler in LOG.handlers:
            handler.setFormatter(logging.Formatter(f"{run.identity.namespace}/{run.identity.name}: %(message)s"))
        with forward.forwarded(forward.operator_of_this_pod(), _newest, LOG.warning):
            termination = compress(run)
        return termination, 0 if termination.outcome == "Succeeded" else EXIT_FINAL
    except CompressionError as error:
        return _failed(error.reason, str(error), error.memory), EXIT_FINAL
    except StorageError as error:
        return _failed(error.reason, str(error)), EXIT_FAILED
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        message = f"{field}: {first['msg']}; operator and compressor must be of one version"
        return _failed("RunFileRefused", message), EXIT_FINAL
    except KeyboardInterrupt:
        return _failed("Terminated", "stopped by a signal before there was a result"), EXIT_FAILED
    except Exception as error:
        LOG.exception("unexpected")
        last_line = traceback.format_exception_only(error)[-1].strip().splitlines()[-1]
        return _failed("CompressionError", last_line), EXIT_FAILED


def _newest() -> forward.Body | None:
    """The progress file, which is replaced as a whole."""
    try:
        return forward.own_words(ProgressReport.read())
    except OSError:
        return None


def _failed(reason: str, message: str, memory: MemoryReport | None = None) -> Termination:
    return Termination(outcome="Failed", reason=reason, message=message, memory=memory)


def _configure_logging() -> None:
    """Decisions to stdout, a line each; errors to stderr. Of onnxruntime, errors only."""
    onnxruntime.set_default_logger_severity(_ERROR)
    decisions = logging.StreamHandler(sys.stdout)
    decisions.addFilter(lambda record: record.levelno < logging.ERROR)
    errors = logging.StreamHandler(sys.stderr)
    errors.setLevel(logging.ERROR)
    # onnxruntime.quantization warns through the root logger, so the level alone keeps its advice out.
    logging.basicConfig(level=logging.ERROR, handlers=[errors], force=True)
    LOG.setLevel(logging.INFO)
    LOG.handlers = [decisions]


if __name__ == "__main__":
    sys.exit(main())
