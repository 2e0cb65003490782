"""Loose evaluation, as IFEval defines it: a criterion is met if it is met by the answer or by one of seven variants."""


def variants(answer: str) -> list[str]:
    """The answer, and without its first line, its last one or both; each also without asterisks.

    The official evaluators try these eight in another order, and stop at the first that is met.
    """
    lines = answer.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    plain = [answer, *cut]
    return [*plain, *(variant.replace("*", "") for variant in plain)]
