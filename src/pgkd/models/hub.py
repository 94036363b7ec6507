"""Saved classifiers on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi, get_token, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from pgkd._version import __version__
from pgkd.exceptions import PersistenceError
from pgkd.export.model_card import begin, name_classes, quote, write_score
from pgkd.models.persistence import STUDENT, TEXTS, save
from pgkd.system.files import DOCUMENT, write_text
from pgkd.system.pretrained import HUB_TIMEOUT, preserve_globals
from pgkd.system.secret import redact

CARD = "README.md"


def push(
    classifier: Any,
    repo_id: str,
    *,
    private: bool | None,
    texts: bool,
    token: str | None,
    message: str,
) -> str:
    """Upload a fitted classifier; return its address."""
    with TemporaryDirectory(prefix="pgkd-") as scratch:
        folder = Path(scratch) / "model"
        save(classifier, folder)
        if not texts:
            _drop_texts(folder)
        write_text(folder / CARD, make_card(classifier, repo_id))
        with _translating(f"Cannot upload to {repo_id!r}", token), preserve_globals():
            api = HfApi(token=token)
            url = api.create_repo(repo_id, private=private, exist_ok=True)
            # A file of an earlier upload, such as another student's, would stay.
            api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=message,
                delete_patterns=[f"{STUDENT}/**"],
            )
            return str(url)


def pull(repo_id: str, revision: str | None, token: str | None) -> Path:
    """Download what `push` uploaded, and nothing else that the repository has."""
    with _translating(f"Cannot load {repo_id!r} from the hub", token), preserve_globals():
        try:
            # One request without retries: a download would try for long.
            api = HfApi(token=token)
            info = api.model_info(repo_id, revision=revision, timeout=HUB_TIMEOUT)
        except (HfHubHTTPError, ValueError):  # the hub has said no, or the name is none
            raise
        except Exception:  # it cannot be reached
            info = None
        if info is not None and DOCUMENT not in [file.rfilename for file in info.siblings or ()]:
            raise PersistenceError(
                f"{repo_id!r} has no {DOCUMENT}, so it is no classifier of pgkd: check `repo_id`."
            )
        return Path(
            snapshot_download(
                repo_id,
                revision=revision,
                token=token,
                allow_patterns=[DOCUMENT, TEXTS, f"{STUDENT}/**"],
                local_files_only=info is None,
            )
        )


def make_card(classifier: Any, repo_id: str) -> str:
    """Return the card, in Markdown with the front matter that the hub reads."""
    return "\n".join([*begin("pgkd"), *_describe(classifier, repo_id), ""])


def _describe(classifier: Any, repo_id: str) -> Iterator[str]:
    student = type(classifier.student_).__name__
    yield f"A {student}, distilled by pgkd {__version__}. It knows "
    yield f"{name_classes(classifier.classes_.tolist())}."
    if classifier.multilabel_:
        yield "A text has several of them, or none."
    yield from ("", "## Use", "", "```python", "from pgkd import PGKDClassifier", "")
    yield f"classifier = PGKDClassifier.from_pretrained({json.dumps(repo_id)})"
    yield from ('classifier.predict(["..."])', "```", "", "## Made", "")
    n_learnt = sum(text.verdict == "accepted" for text in classifier.synthetic_)
    n_labelled = classifier.history_[0].n_accepted if classifier.history_ else "unknown"
    yield f"- Labelled texts: {n_labelled}; further texts that were learnt: {n_learnt}."
    yield f"- Teacher: {_name_teacher(classifier.teacher)}."
    yield f"- Taken from it: {classifier.usage_}."
    yield from ("", "## Measured", "")
    report = classifier.history_[-1].report if classifier.history_ else None
    if report is None or classifier.refit_mask_ is not None:
        yield "- No labelled text has judged this student."
    else:
        yield f"- It was measured {write_score(report)}"
        gain = quote(str(classifier.comparison_))
        yield f"- Beside a student of the labelled texts alone: {gain}."


def _name_teacher(teacher: Any) -> str:
    if teacher is None:
        return "none, or not known any more"
    model = getattr(teacher, "model", None)
    if not isinstance(model, str):
        return type(teacher).__name__
    # Of a file, where it lies is nobody's business.
    return f"{type(teacher).__name__}, {quote(Path(model).name if Path(model).exists() else model)}"


def _drop_texts(folder: Path) -> None:
    """Leave `synthetic_` empty, and what counts its rows."""
    write_text(folder / TEXTS, "")
    path = folder / DOCUMENT
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["refit_mask"] is not None:
        document["refit_mask"] = []
    write_text(path, json.dumps(document, ensure_ascii=False, indent=1))


@contextmanager
def _translating(what: str, token: str | None) -> Iterator[None]:
    """Say what the hub's client means, without the token."""
    try:
        yield
    except PersistenceError:
        raise
    except RepositoryNotFoundError:
        fix = "there is no such repository, or the token may not see it. Check `repo_id` and token"
    except RevisionNotFoundError:
        fix = "there is no such revision. Check `revision`"
    except LocalEntryNotFoundError:
        fix = (
            "the hub cannot be reached, and its cache has no such classifier. Check the network, "
            "`HF_ENDPOINT` and `HF_HUB_OFFLINE`, or `load` a local directory"
        )
    except Exception as error:  # those of its HTTP library have no base in common
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        fix = f"{type(error).__name__}: {redact(reason, token or get_token())}. Check `repo_id`, "
        fix += "token and network"
    else:
        return
    raise PersistenceError(f"{what}: {fix}.") from None
