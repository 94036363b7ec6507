"""Build what is published, try it where nothing else is installed, and say what is in it.

Run as `make dist`. Then `dist/` holds the wheel, the sdist, a CycloneDX list of what an
installation brings along (an SBOM), and SHA256SUMS.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    subprocess.run([*map(str, command)], check=True, cwd=cwd)


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
    }


def build(out: Path, *, source: Path = ROOT) -> tuple[Path, Path]:
    """Build the sdist and, from it, the wheel."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def build_twice(out: Path) -> tuple[Path, Path]:
    """Build, and build once more, elsewhere, from what the sdist holds: the bytes are the same."""
    sdist, wheel = build(out)
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch, filter="data")
        (source,) = Path(scratch).iterdir()
        again = Path(scratch) / "again"
        build(again, source=source)
        if hash_files(again) != hash_files(out):
            sys.exit(f"Two builds differ: {hash_files(out)} and {hash_files(again)}")
    return sdist, wheel


def install(dist: Path, env: Path, *options: str) -> Path:
    """Install a wheel or an sdist, with pip's `options`, in a clean environment.

    Returns
    -------
    python : path
        The environment's interpreter.
    """
    venv.create(env, with_pip=False, clear=True)
    python = env / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *options, dist)
    return python


def smoke(python: Path) -> None:
    """Use pgkd there. The interpreter is isolated: nothing is imported from this folder."""
    run(python, "-I", ROOT / "scripts" / "smoke.py", cwd=python.parent)


def write_sbom(python: Path, version: str, file: Path) -> None:
    """List what an environment has beside pgkd, which is taken out of it."""
    run(sys.executable, "-m", "pip", "--python", python, "uninstall", "--quiet", "--yes", "pgkd")
    options = ["--pyproject", ROOT / "pyproject.toml", "--mc-type", "library"]
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    run(*command, *options, "--output-file", file, python)
    sbom = json.loads(file.read_text(encoding="utf-8"))
    sbom["metadata"]["component"]["version"] = version  # pyproject.toml does not have it
    file.write_text(json.dumps(sbom, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--with", dest="requirements", nargs="*", default=[], help="install, too")
    requirements = parser.parse_args().requirements
    out = ROOT / "dist"
    shutil.rmtree(out, ignore_errors=True)
    sdist, wheel = build_twice(out)
    with tempfile.TemporaryDirectory() as scratch:
        for dist in (sdist, wheel):
            python = install(dist, Path(scratch) / "env", *requirements)
            smoke(python)
        version = wheel.name.split("-")[1]
        write_sbom(python, version, out / f"pgkd-{version}.cdx.json")
    sums = "".join(f"{digest}  {name}\n" for name, digest in hash_files(out).items())
    (out / "SHA256SUMS").write_text(sums, encoding="utf-8")
    print(sums, end="")


if __name__ == "__main__":
    main()
