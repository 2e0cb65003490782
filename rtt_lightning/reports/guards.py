"""Guards beside every score: whether training changed what nobody asked for, from the evaluations before and after."""

from collections.abc import Callable, Mapping
from math import inf, isfinite, nan

FEWER_BIGRAMS = 0.9
"""Share of distinct-2 that has to stay: the demo is held to the same."""
LENGTH = 0.25
"""Share by which lengths may differ: likewise. Limits on words are met, or missed, by length alone."""
MORE_REPETITION = 0.05
"""Of runs of three words: one more in twenty, a sentence said twice in an answer of twenty sentences."""
MORE_COPYING, OF_ITSELF = 2.0, 0.02
"""Times the copying before; up to this share of runs it may be a title or a quotation, and doubles by chance."""
MORE_PRAISE = 0.02
"""Of answers: one more in fifty that tells its judge that it meets the criteria."""
LESS_COHERENT = 0.5
"""Nats per token under the reference: its perplexity of the answers is 1.6 times as high."""
LESS_LIKELY = 0.2
"""Nats per token of a text that has nothing to do with the criteria: its perplexity is a fifth higher."""

LOGGED = ("coherence", "neutral_text", "bare_length", "kl_per_response", "bare_kl_per_response")
"""What needs the policy, and so is logged by an evaluation; the rest is computed from its responses."""

Allowed = Callable[[float], tuple[float, float]]
"""From a metric before training to its least and its greatest value after."""


def _near(before: float) -> tuple[float, float]:
    return (1 - LENGTH) * before, (1 + LENGTH) * before


GUARDS: dict[str, tuple[str, Allowed]] = {
    "distinct_2": ("distinct-2", lambda before: (FEWER_BIGRAMS * before, inf)),
    "length": ("tokens per response", _near),
    "repetition": ("repetition", lambda before: (0.0, before + MORE_REPETITION)),
    "copying": ("copying", lambda before: (0.0, max(MORE_COPYING * before, OF_ITSELF))),
    "self_praise": ("self-praise", lambda before: (0.0, before + MORE_PRAISE)),
    "coherence": ("log-prob under the reference", lambda before: (before - LESS_COHERENT, inf)),
    "neutral_text": ("log-prob of a neutral text", lambda before: (before - LESS_LIKELY, inf)),
    "bare_length": ("tokens per response without criteria", _near),
}


def logged_guards(logged: Mapping[str, float | None]) -> dict[str, float]:
    """Those that an evaluation has logged, under the names of `tripped`; unknown ones are absent.

    Args:
        logged: Its metrics, as in the JSON file beside its responses: ``val/coherence`` and the like.
    """
    return {name: value for name in LOGGED if (value := logged.get(f"val/{name}")) is not None}


def tripped(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Which guards an evaluation trips relative to the one before training, in words; empty if none.

    A metric that is unknown on one side, or not finite, trips nothing.

    Args:
        before: Metrics before training, from `rtt_lightning.reports.comparison.summarize`, `hacking_metrics` and
            `logged_guards`.
        after: The same after it, of the same prompts, sampled alike.
    """
    found = []
    for name, (words, allowed) in GUARDS.items():
        old, new = before.get(name, nan), after.get(name, nan)
        low, high = allowed(old)
        if isfinite(old) and isfinite(new) and not low <= new <= high:
            limit = f"at least {low:.3g}" if new < low else f"at most {high:.3g}"
            found.append(f"{words} {new:.3g}, {old:.3g} before ({limit} is allowed)")
    asked, bare = after.get("kl_per_response", nan), after.get("bare_kl_per_response", nan)
    if bare > asked:
        found.append(
            f"KL of {bare:.3g} nats per response without criteria, {asked:.3g} with them (at most as much is allowed)"
        )
    return found
