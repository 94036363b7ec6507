"""Each with the real package, offline."""

import pytest
from test_progress import fit

from pgkd.callbacks import MLflowCallback, TensorBoardCallback, WandbCallback


def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs pgkd[track]")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    clf = fit(callbacks=[MLflowCallback()])
    assert mlflow.active_run() is None
    client = mlflow.MlflowClient()
    [run] = client.search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert run.data.params["max_cycles"] == "1"
    assert run.data.tags["stop_reason"] == clf.stop_reason_
    scores = client.get_metric_history(run.info.run_id, "score")
    assert [own.value for own in scores] == [step.score for step in clf.history_]
    assert [own.step for own in scores] == [step.number for step in clf.history_]
    with mlflow.start_run() as own:
        fit(callbacks=[MLflowCallback()])
        assert mlflow.active_run().info.run_id == own.info.run_id
    assert client.get_run(own.info.run_id).data.metrics["texts_learnt"] > 0


def test_wandb(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs pgkd[track]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with wandb.init() as run:
        clf = fit(callbacks=[WandbCallback()])
        assert run.config["max_cycles"] == "1"
        assert run.summary["stop_reason"] == clf.stop_reason_
        assert run.summary["score"] == clf.history_[-1].score
    fit(callbacks=[WandbCallback(project="mine")])
    assert wandb.run is None
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="needs pgkd[track]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    clf = fit(callbacks=[TensorBoardCallback(tmp_path)])
    found = EventAccumulator(str(tmp_path)).Reload()
    scores = [own.value for own in found.Scalars("score")]
    assert scores == pytest.approx([step.score for step in clf.history_])
    assert "stop_reason/text_summary" in found.Tags()["tensors"]


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("pgkd.export.engines.find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"mlflow is not installed: pip install .*pgkd\[track\]"):
        fit(callbacks=[MLflowCallback()])
