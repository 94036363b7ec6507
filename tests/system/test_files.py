"""Directories are replaced whole, and only what is nobody's is cleaned up."""

import os
import subprocess
import sys

import pytest

from pgkd.exceptions import PersistenceError
from pgkd.system.files import DOCUMENT, list_files, replacing


def write(directory, text, writer="save"):
    with replacing(directory, writer) as draft:
        (draft / "text").write_text(text)
        (draft / DOCUMENT).write_text(
            f'{{"writer": "{writer}", "files": {list_files(draft)!r}}}'.replace("'", '"')
        )


def test_the_drafts_of_dead_processes_are_cleaned_and_no_others(tmp_path):
    dead = [tmp_path / ".model-0123abcd", tmp_path / ".model-0123abcd-old"]
    mine = [tmp_path / name for name in (".model", ".model-thesis", ".model-2-0123abcd", "model-0")]
    for path in (*dead, *mine):
        path.mkdir()
        (path / "x").touch()
    with replacing(tmp_path / "model", "save") as alive:  # by another thread or process
        code = (
            "import sys; from pathlib import Path; from pgkd.system import files\n"
            "with files.replacing(Path(sys.argv[1]), 'save') as draft: (draft / 'x').touch()\n"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "model")], check=True)
        assert alive.exists()
        assert [path.exists() for path in dead] == [False, False]
        (tmp_path / "model" / "x").unlink()
    assert all((path / "x").exists() for path in mine)
    assert sorted(tmp_path.iterdir()) == sorted([*mine, tmp_path / "model"])


def test_a_hard_link_is_replaced_and_not_written_through(tmp_path):
    write(tmp_path / "model", "old")
    os.link(tmp_path / "model" / "text", tmp_path / "mine")
    write(tmp_path / "model", "new")
    assert (tmp_path / "mine").read_text() == "old"
    assert (tmp_path / "model" / "text").read_text() == "new"


@pytest.mark.parametrize("spoil", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_place_with_a_forged_document_is_left_alone(tmp_path, spoil):
    write(tmp_path / "model", "old")
    (tmp_path / "model" / DOCUMENT).unlink()
    spoil(tmp_path / "model" / DOCUMENT)
    with pytest.raises(PersistenceError, match="did not write"):
        write(tmp_path / "model", "new")
    assert (tmp_path / "model" / "text").read_text() == "old"
