"""A run in a tracker of experiments: MLflow, Weights & Biases, TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sklearn.base import BaseEstimator

from pgkd.export.engines import require
from pgkd.records import Begin, Event, Step, Usage

#: Characters of a parameter; MLflow takes no more of some stores.
MAX_CHARACTERS = 500


class _Tracker(BaseEstimator):  # type: ignore[misc]
    """What all trackers are told: parameters, metrics of each step, and how it ended."""

    def on_event(self, event: Event) -> None:
        """Tell the tracker of `event`."""
        value = event.value
        if isinstance(value, Begin):
            self._usage, self._n_learnt = Usage(), 0
            self._open({name: own[:MAX_CHARACTERS] for name, own in value.parameters.items()})
        elif isinstance(value, Step):
            self._usage += value.usage
            self._n_learnt += value.n_accepted if value.taken else 0
            self._log(self._measure(value), value.number)
        elif event.kind == "end":
            self._close(str(value))

    def _measure(self, step: Step) -> dict[str, float]:
        found: dict[str, float | None] = {
            "score": step.score,
            "texts_learnt": self._n_learnt,
            "texts_of_step": step.n_accepted,
            "taken": float(step.taken),
            "seconds": step.seconds,
            "requests": self._usage.n_requests,
            "tokens": self._usage.input_tokens + self._usage.output_tokens,
            "cost": self._usage.cost,
        }
        if step.report is not None:
            found |= {"accuracy": step.report.accuracy, "f1_macro": step.report.f1_macro}
        if step.comparison is not None:
            found["gain"] = step.comparison.after - step.comparison.before
        return {name: float(own) for name, own in found.items() if own is not None}

    def _open(self, parameters: Mapping[str, str]) -> None:
        raise NotImplementedError

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        raise NotImplementedError

    def _close(self, stop_reason: str) -> None:
        raise NotImplementedError


class MLflowCallback(_Tracker):
    """Log a run with MLflow: parameters, metrics by step, and ``stop_reason`` as a tag.

    It goes into the active run; if there is none, one is started, and ended with `fit`. Where to is
    MLflow's own matter (``mlflow.set_tracking_uri``).

    Raises
    ------
    ImportError
        Without the package, which ``pip install "pgkd[track]"`` brings.

    References
    ----------
    https://mlflow.org/docs/latest/ml/tracking/

    Examples
    --------
    >>> from pgkd.callbacks import MLflowCallback
    >>> clf.set_params(callbacks=[MLflowCallback()]).fit(texts, labels)  # doctest: +SKIP
    """

    def _open(self, parameters: Mapping[str, str]) -> None:
        require("mlflow", extra="track")
        import mlflow

        self._is_own = mlflow.active_run() is None
        if self._is_own:
            mlflow.start_run()
        mlflow.log_params(dict(parameters))

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        import mlflow

        mlflow.log_metrics(dict(metrics), step=step)

    def _close(self, stop_reason: str) -> None:
        import mlflow

        mlflow.set_tag("stop_reason", stop_reason)
        if self._is_own:
            mlflow.end_run()


class WandbCallback(_Tracker):
    """Log a run with Weights & Biases: the configuration, metrics by step, ``stop_reason``.

    It goes into the current run; if there is none, one is started, and finished with `fit`.

    Parameters
    ----------
    project : str, default="pgkd"
        Of a run that it starts.

    Raises
    ------
    ImportError
        Without the package, which ``pip install "pgkd[track]"`` brings.

    References
    ----------
    https://docs.wandb.ai/ref/python/

    Examples
    --------
    >>> from pgkd.callbacks import WandbCallback
    >>> clf.set_params(callbacks=[WandbCallback()]).fit(texts, labels)  # doctest: +SKIP
    """

    def __init__(self, project: str = "pgkd") -> None:
        self.project = project

    def _open(self, parameters: Mapping[str, str]) -> None:
        require("wandb", extra="track")
        import wandb

        self._is_own = wandb.run is None
        if self._is_own:
            wandb.init(project=self.project)
        wandb.config.update(dict(parameters), allow_val_change=True)

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        import wandb

        wandb.log({**metrics, "step": step})

    def _close(self, stop_reason: str) -> None:
        import wandb

        wandb.summary["stop_reason"] = stop_reason
        if self._is_own:
            wandb.finish()


class TensorBoardCallback(_Tracker):
    """Write a run for TensorBoard.

    Parameters
    ----------
    directory : str or path
        ``tensorboard --logdir`` shows it.

    Raises
    ------
    ImportError
        Without the package, which ``pip install "pgkd[track]"`` brings.

    References
    ----------
    https://docs.pytorch.org/docs/stable/tensorboard.html

    Examples
    --------
    >>> from pgkd.callbacks import TensorBoardCallback
    >>> clf.set_params(callbacks=[TensorBoardCallback("runs/1")])  # doctest: +SKIP
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = directory

    def _open(self, parameters: Mapping[str, str]) -> None:
        require("tensorboard", extra="track")
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(os.fspath(self.directory))
        rows = "\n".join(f"| {name} | `{own}` |" for name, own in parameters.items())
        self._writer.add_text("parameters", f"| parameter | value |\n| --- | --- |\n{rows}")

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def _close(self, stop_reason: str) -> None:
        self._writer.add_text("stop_reason", stop_reason)
        self._writer.close()
