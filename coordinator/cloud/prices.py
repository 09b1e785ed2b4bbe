"""What a request costs in US dollars, from the kept price list of `genai-prices`. Nothing is fetched."""

from coordinator.config import DEFAULT_BASE_URL


def price(model: str, base_url: str, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float | None:
    """US dollars for one request; None where the price list does not know the endpoint or the model, as with local servers.

    `cached_tokens` are those of the prompt tokens that the supervisor had in its cache.
    """
    # Imported late: it takes a quarter of a second, which commands that ask nobody need not wait for.
    import genai_prices

    usage = genai_prices.Usage(
        input_tokens=prompt_tokens, cache_read_tokens=min(cached_tokens, prompt_tokens), output_tokens=completion_tokens
    )
    try:
        return float(genai_prices.calc_price(usage, model, provider_api_url=base_url).total_price)
    except (LookupError, ValueError):
        # ValueError: token counts that the model's price does not fit. A reply that came must be written down all the same.
        return None


def price_of_whole_document(model: str, tokens: int, base_url: str = DEFAULT_BASE_URL) -> float | None:
    """US dollars for sending `tokens` tokens of text as they are, the reply not counted; None where the price is not known."""
    return price(model, base_url, tokens, 0)
