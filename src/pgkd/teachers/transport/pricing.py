"""What tokens cost."""

from __future__ import annotations

from pgkd.records import Usage


def look_up_cost(model: str, usage: Usage, provider: str | None = None) -> float | None:
    """US dollars for `usage` of a well-known model, by genai-prices if it is installed.

    Returns ``None`` for a model it does not know. Without `provider`, the model's name tells it.

    References
    ----------
    https://github.com/pydantic/genai-prices
    """
    try:
        import genai_prices
    except ImportError:
        return None
    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
    )
    try:
        price = genai_prices.calc_price(tokens, model_ref=model, provider_id=provider)
        return float(price.total_price)
    except LookupError:
        return None
