"""Run a :class:`FaultServer` as a process of its own: ``python -m pgkd.testing.fault_server``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence

from pgkd.testing.fault_server import Fault, FaultServer


def _parse_latency(text: str) -> float | tuple[float, float]:
    median, comma, sigma = text.partition(",")
    return (float(median), float(sigma)) if comma else float(median)


def _parse_rate(text: str) -> tuple[int | Fault, float]:
    name, _, rate = text.partition("=")
    name, colon, seconds = name.partition(":")
    if name.isdigit():
        return int(name), float(rate)
    make = getattr(Fault, name, None)
    if make is None:
        raise argparse.ArgumentTypeError(f"no status and no fault: {name!r}")
    fault: Fault = make(float(seconds)) if colon else make()
    return fault, float(rate)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the process is told to stop; then print how much there was to do."""
    parser = argparse.ArgumentParser(
        prog="python -m pgkd.testing.fault_server",
        description="Speak as LLM providers do, on loopback, and go wrong on demand. The first "
        "line printed is the base URL; on SIGTERM or Ctrl-C the numbers of requests and of faults "
        "follow.",
    )
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    parser.add_argument(
        "--latency",
        type=_parse_latency,
        default=0.0,
        metavar="SECONDS[,SIGMA]",
        help="with SIGMA, SECONDS is the median of a log-normal distribution",
    )
    parser.add_argument(
        "--rate",
        type=_parse_rate,
        action="append",
        default=[],
        metavar="FAULT[:SECONDS]=P",
        help="probability of a status (429=0.02) or of a fault (hang_up=0.01, stall:5=0.01); "
        "repeatable",
    )
    parser.add_argument("--n-texts", type=int, default=1, help="for each class, by default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with FaultServer(
        latency=options.latency,
        rates=dict(options.rate),
        n_texts=options.n_texts,
        seed=options.seed,
        port=options.port,
        record=False,
    ) as server:
        _print(server.base_url)
        stop.wait()
        _print(json.dumps({"n_requests": server.n_requests, "n_faults": server.n_faults}))


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
