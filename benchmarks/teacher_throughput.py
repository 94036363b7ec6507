"""How fast, how dear in CPU and memory, and how faithful a teacher is, next to its peers.

    python benchmarks/teacher_throughput.py [--requests 2000] [--many 20000] [--repeats 3]
        [--clients pgkd openai ...] [--python CLIENT=PYTHON ...]

One FaultServer for each run, in a process of its own, with the same latencies for every client: a
log-normal with a median of 200 ms; and, in the runs with faults, 2 % of 429 (Retry-After: 1) and
1 % of 500. Every request names an id that the server repeats in its answer. Each client is a
function of `throughput_clients.py` and runs in a process of its own; one whose dependencies do not
go with pgkd's has its own Python.

The ideal rate is concurrency / mean latency, the mean of the latencies that were really drawn in
the run: a log-normal's mean is above its median. Lost: requests without an answer of their own.
Doubled: answers handed out twice. Paid twice: good answers that were served and not handed out.
CPU seconds are those of the client's process, without imports and 8 requests to warm up. Medians
over the repeats, but the worst of them for answers lost, doubled and paid twice. On Linux, a run
begins when the machine is quiet and is done again when other processes took more than a tenth of a
core, for as long as --patience allows; `others` in the results is what they took, in cores.
"""

import argparse
import heapq
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from statistics import mean, median

from common import save
from throughput_clients import CLIENTS, ID, cpu_seconds, request

from pgkd.records import GenerationRequest
from pgkd.teachers import OpenAITeacher
from pgkd.testing import FaultServer

HERE = Path(__file__).parent
CONCURRENCY = 64
N_WARM_UP = 8
#: Median in seconds and sigma.
LATENCY = (0.2, 0.5)
RATES = {429: 0.02, 500: 0.01}
#: Seconds that a 429 asks to wait.
RETRY_AFTER = 1.0
#: Cores that may be busy elsewhere.
MAX_OTHERS = 0.1
#: Nothing but what is measured: no telemetry, no look at a hub, no drawing.
QUIET = {
    "TELEMETRY_ENABLED": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "CURATOR_DISABLE_CACHE": "1",
}


class EchoServer(FaultServer):
    """Repeats the id of a request in each text of its answer, and notes the latencies it drew."""

    def __init__(self, with_faults, seed):
        rates = RATES if with_faults else None
        super().__init__([self.echo], latency=LATENCY, rates=rates, seed=seed, record=False)
        self.n_answers = 0
        self.latencies = []

    def echo(self, body):
        self.n_answers += 1
        [id] = set(ID.findall(json.dumps(body["messages"])))
        return json.dumps(
            {
                label: [f"{id}: the {label} text {n} of a customer of the bank" for n in range(3)]
                for label in ("card", "transfer")
            }
        )

    def _draw_latency(self):
        self.latencies.append(super()._draw_latency())
        return self.latencies[-1]


def simulate(n_requests, with_faults, seed):
    """Share of the ideal rate that is left to a client which takes no time itself.

    The last answers come when nothing else is left to ask, and a 429 near the end is waited for.
    """
    random = Random(seed)
    slots, waiting, latencies, todo, end = [0.0] * CONCURRENCY, [], [], n_requests, 0.0
    while todo or waiting:
        now = heapq.heappop(slots)
        if waiting and (waiting[0] <= now or not todo):
            now = max(now, heapq.heappop(waiting))
        else:
            todo -= 1
        latencies.append(random.lognormvariate(math.log(LATENCY[0]), LATENCY[1]))
        now += latencies[-1]
        chance = random.random() if with_faults else 1.0
        if chance < sum(RATES.values()):
            heapq.heappush(waiting, now + RETRY_AFTER * (chance < RATES[429]))
        else:
            end = max(end, now)
        heapq.heappush(slots, now)
    return n_requests * mean(latencies) / CONCURRENCY / end


def serve(pipe, with_faults, seed):
    with EchoServer(with_faults, seed) as server:
        pipe.send(server.base_url)
        pipe.recv()
        pipe.send((server.n_requests, server.n_answers, mean(server.latencies or LATENCY[:1])))


def run_in_peace(patience, *args):
    """Run a client while nothing else is busy; disturbed runs are done again."""
    deadline = time.monotonic() + patience
    while True:
        while measure_others(lambda: time.sleep(2))[1] > MAX_OTHERS:
            if time.monotonic() > deadline:
                break
        row, others = measure_others(lambda: run(*args))
        if others <= MAX_OTHERS or time.monotonic() > deadline:
            return {**row, "others": others}
        print(f"Again: {others:.2f} cores were busy elsewhere.", file=sys.stderr, flush=True)


def measure_others(function):
    """Call `function`; tell how many cores other processes took in the meantime."""
    before, start = cpu_of_others(), time.perf_counter()
    result = function()
    return result, (cpu_of_others() - before) / (time.perf_counter() - start)


def cpu_of_others():
    """CPU seconds of all processes but this one and its children that have ended; Linux only."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, *rest = map(int, stat.read_text().split("\n")[0].split()[1:9])
    ticks = user + nice + system + sum(rest)
    return ticks / os.sysconf("SC_CLK_TCK") - cpu_seconds()


def run(client, python, n_requests, with_faults, seed):
    """Run a client once against a server of its own."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, with_faults, seed), daemon=True
    )
    server.start()
    theirs.close()  # so that the end of a server that failed is an error here
    job = {
        "url": ours.recv(),
        "concurrency": CONCURRENCY,
        "n_requests": n_requests,
        "n_warm_up": N_WARM_UP,
        "messages": OpenAITeacher("any").render(request(GenerationRequest, "{id}")),
    }
    with tempfile.TemporaryDirectory() as folder:
        job_file, report_file = Path(folder, "job.json"), Path(folder, "report.json")
        job_file.write_text(json.dumps(job))
        command = [python, HERE / "throughput_clients.py", client, job_file, report_file]
        env = {**os.environ, **QUIET, "HOME": folder, "CURATOR_CACHE_DIR": folder}
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, timeout=900)
        if done.returncode:
            report = {"error": done.stderr.decode()[-2000:], "lost": n_requests, "doubled": 0}
        else:
            report = json.loads(report_file.read_text())
    ours.send("stop")
    n_sent, n_answers, latency = ours.recv()
    server.join()
    ideal = n_requests * latency / CONCURRENCY
    return {
        "client": client,
        "n_requests": n_requests,
        "faults": with_faults,
        "seed": seed,
        "mean_latency": latency,
        "ideal_seconds": ideal,
        "n_sent": n_sent,
        "n_answers": n_answers,
        **report,
    }


def tabulate(rows, n_requests):
    """Make the Markdown table of the runs with `n_requests`."""
    lines = [
        "| client | seconds | share of the ideal rate | with faults: seconds | share "
        "| lost, doubled, paid twice | CPU ms a request, with faults | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for client in dict.fromkeys(row["client"] for row in rows):
        own = [row for row in rows if row["client"] == client and row["n_requests"] == n_requests]
        whole = [row for row in own if "error" not in row]
        cells = []
        for faults in (False, True):
            runs = [row for row in whole if row["faults"] == faults]
            if runs:
                cells.append(f"{median(row['seconds'] for row in runs):.2f}")
                share = median(row["ideal_seconds"] / row["seconds"] for row in runs)
                cells.append(f"{share:.0%}")
            else:
                cells += ["failed", ""]
        wrong = [
            max(row["lost"] for row in own),
            max(row["doubled"] for row in own),
            max(row["n_answers"] - n_requests - N_WARM_UP for row in own),
        ]
        cells.append(", ".join(map(str, wrong)))
        cpu = [
            median(
                [row["cpu_seconds"] for row in whole if row["faults"] == faults] or [float("nan")]
            )
            / n_requests
            * 1000
            for faults in (False, True)
        ]
        cells.append(", ".join(f"{ms:.2f}" for ms in cpu))
        cells.append(f"{max((row['peak_mib'] for row in whole), default=float('nan')):.0f}")
        version = next((row["version"] for row in whole), "")
        lines.append(f"| {client} {version} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--many", type=int, default=20_000, help="for the memory of pgkd; 0: not")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clients", nargs="+", default=list(CLIENTS), choices=list(CLIENTS))
    parser.add_argument("--patience", type=float, default=600, help="seconds, for each run")
    parser.add_argument("--python", action="append", default=[], metavar="CLIENT=PYTHON")
    args = parser.parse_args()

    pythons = dict(entry.split("=", 1) for entry in args.python)
    jobs = [
        (client, args.requests, faults, seed)
        for seed in range(args.repeats)
        for client in args.clients
        for faults in (False, True)
    ]
    if args.many and "pgkd" in args.clients:
        jobs.append(("pgkd", args.many, True, 0))
    rows = []
    for client, n_requests, faults, seed in jobs:
        python = pythons.get(client, sys.executable)
        row = run_in_peace(args.patience, client, python, n_requests, faults, seed)
        print(json.dumps(row), file=sys.stderr, flush=True)
        rows.append(row)
    save(
        HERE / "results" / "teacher_throughput.json",
        {"concurrency": CONCURRENCY, "latency": LATENCY, "rates": RATES, "rows": rows},
    )
    print(tabulate(rows, args.requests))
    for faults in (False, True):
        best = [simulate(args.requests, faults, seed) for seed in range(100)]
        print(
            f"Share of a client that takes no time itself, {'with' if faults else 'without'} "
            f"faults: {mean(best):.0%} on average, {min(best):.0%} to {max(best):.0%}"
        )
    own = [row for row in rows if row["client"] == "pgkd" and row["faults"] and "error" not in row]
    for n_requests in dict.fromkeys(row["n_requests"] for row in own):
        peaks = [row["peak_mib"] for row in own if row["n_requests"] == n_requests]
        print(f"pgkd at {n_requests} requests with faults: {max(peaks):.1f} MiB at most")


if __name__ == "__main__":
    main()
