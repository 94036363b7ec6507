"""What a service counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class Metrics:
    """Counters of one service.

    Attributes
    ----------
    registry : CollectorRegistry
    seconds : Histogram
        That the model took for a request.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "pgkd_model_seconds", "Seconds of the model for a request", registry=self.registry
        )
        self._texts = Counter(
            "pgkd_texts", "Texts, by who answered", ["answered_by"], registry=self.registry
        )

    def count(self, answered_by: str, n: int = 1) -> None:
        """Count texts."""
        self._texts.labels(answered_by).inc(n)
