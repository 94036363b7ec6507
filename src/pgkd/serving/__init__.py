"""A model over HTTP: its own API, and that of OpenAI's chat completions.

`service` is the web application, `predictor` the model in it, `chat` reads and writes OpenAI's
shape, `upstream` asks the LLM where the model is unsure, `metrics` counts.
May import: `opening` and all below.
"""

from pgkd.export.engines import require

for _package in ("fastapi", "fastapi_offline", "prometheus_client", "uvicorn"):
    require(_package, extra="serve")

from pgkd.serving.service import make_app, run  # noqa: E402

__all__ = ["make_app", "run"]
