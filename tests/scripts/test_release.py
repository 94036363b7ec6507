"""What is published, built here: what is in it, and that it works by itself."""

import json
import subprocess
import sysconfig
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import release
from packaging.requirements import Requirement

import pgkd

pytest.importorskip("hatchling", reason="not installed: pip install pgkd[release]")
pytest.importorskip("pip", reason="it installs the wheel")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist and the wheel, which came out the same twice."""
    return release.build_twice(tmp_path_factory.mktemp("dist"))


def test_sdist_has_what_git_has(built):
    if not (release.ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.check_output(command, cwd=release.ROOT, text=True).splitlines()
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    there = {name for name in tracked if (release.ROOT / name).exists()}
    assert names == there - {".ci/run"} | {"PKG-INFO"}


def test_wheel_has_the_package_and_its_license(built):
    with zipfile.ZipFile(built[1]) as archive:
        names = set(archive.namelist())
    info = {name for name in names if ".dist-info/" in name}
    source = release.ROOT / "src"
    files = [file for file in source.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    assert names - info == {file.relative_to(source).as_posix() for file in files}
    assert "pgkd/py.typed" in names
    assert {"METADATA", "LICENSE"} <= {Path(name).name for name in info}


def test_every_dependency_has_a_lower_bound(built):
    with zipfile.ZipFile(built[1]) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    assert metadata["Version"] == pgkd.__version__
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    assert len(requirements) > 20
    loose = [
        str(each)
        for each in requirements
        if each.name != "pgkd" and not {">=", "=="} & {part.operator for part in each.specifier}
    ]
    assert loose == []


def test_it_works_in_an_environment_of_its_own(built, tmp_path):
    """With the dependencies of this one, which takes seconds: `make dist` installs them, too."""
    python = release.install(built[1], tmp_path / "env", "--no-deps", "--no-index")
    (packages,) = (tmp_path / "env").rglob("site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    release.smoke(python)


def test_sbom(built, tmp_path):
    pytest.importorskip("cyclonedx_py", reason="not installed: pip install pgkd[release]")
    python = release.install(built[1], tmp_path / "env", "--no-deps", "--no-index")
    release.write_sbom(python, "1.2.3", tmp_path / "sbom.json")
    text = (tmp_path / "sbom.json").read_text(encoding="utf-8")
    sbom = json.loads(text)
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["name"] == "pgkd"
    assert sbom["metadata"]["component"]["version"] == "1.2.3"
    assert sbom.get("components", []) == []
    assert str(tmp_path) not in text
