"""Processes that tests start, signal and wait for: forks of one that has imported everything."""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import traceback
from unittest import mock

#: Seconds after which a process that should have ended is said to hang.
PATIENCE = 120

if sys.platform != "win32":
    CONTEXT = multiprocessing.get_context("forkserver")
    CONTEXT.set_forkserver_preload(["torch.distributed", "reliability.fits"])


class Child:
    """A process that calls ``target(*args, **params)``.

    What it returns or raises, with its traceback, is what `end` gives.
    """

    def __init__(self, target, *args, environment=None, **params):
        self._result, result = CONTEXT.Pipe(duplex=False)
        arguments = (result, environment or {}, target, args, params)
        self._process = CONTEXT.Process(target=_run, args=arguments)
        with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
            multiprocessing.forkserver.ensure_running()
            self._process.start()
        result.close()

    @property
    def pid(self):
        return self._process.pid

    @property
    def is_alive(self):
        return self._process.is_alive()

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.kill(self._process.pid, number)

    def end(self, patience=PATIENCE):
        """Wait; return ("returned", what), ("raised", type, message) or ("killed", signal)."""
        if not self._result.poll(patience):  # it ends with its process as well
            self._process.kill()
            raise TimeoutError(f"process {self.pid} hangs")
        try:
            return self._result.recv()
        except EOFError:
            self._process.join(patience)
            return "killed", -self._process.exitcode

    def result(self, patience=PATIENCE):
        """Wait; return what it returned."""
        kind, *rest = self.end(patience)
        assert kind == "returned", rest
        return rest[0]


def _run(result, environment, target, args, params):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    os.environ.update(environment)
    try:
        outcome = "returned", target(*args, **params)
    except BaseException as error:
        outcome = "raised", type(error).__name__, str(error), traceback.format_exc()
    result.send(outcome)
