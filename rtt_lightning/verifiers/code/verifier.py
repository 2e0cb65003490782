"""Verdicts by code from data, in a sandbox."""

import ast
import asyncio
from collections.abc import Sequence

from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Verifier, unscorable
from rtt_lightning.verifiers.code.sandboxes import (
    MET,
    UNMET,
    CheckFailed,
    MontySandbox,
    NativeSandbox,
    Sandbox,
    Unsupported,
)

PROMPT_NAMES = frozenset("instruction instructions prompt question query input input_text request".split())
"""Parameters of a check that take the prompt; any other takes the answer."""
CHECK_NAMES = ("check_following", "check", "evaluate", "verify")


class CodeVerifier(Verifier):
    """Runs each criterion's ``source`` in a sandbox: a function of the answer, or of the prompt and the answer.

    Only a real True or False is a verdict; anything else makes the criterion unscorable, with its reason. An empty
    answer meets nothing, and no code runs on it.

    Args:
        deadline: Seconds of computing that a check may take.
        memory_mb: MiB that a check may hold.
        workers: Sandbox processes.
        native: Run what `MontySandbox` cannot (classes, rarer modules) in `NativeSandbox`.
    """

    def __init__(self, deadline: float = 1.0, memory_mb: int = 64, workers: int = 1, native: bool = False) -> None:
        if deadline <= 0 or memory_mb < 1 or workers < 1:
            raise UserError(
                f"deadline must be > 0 seconds, memory_mb and workers >= 1, got {deadline}, {memory_mb} and {workers}"
            )
        self._sandboxes: list[Sandbox] = [MontySandbox(deadline, memory_mb, workers)]
        if native:
            self._sandboxes.append(NativeSandbox(deadline, memory_mb))

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        if not answer.strip():
            return [Verdict(False, "empty answer")] * len(sample.criteria)
        checks = (asyncio.to_thread(self._decide, sample, criterion, answer) for criterion in sample.criteria)
        return list(await asyncio.gather(*checks))

    def problems(self, sample: RubricSample) -> list[str]:
        missing = [sandbox.package for sandbox in self._sandboxes if not sandbox.is_installed()]
        found = [f"the data brings code, which needs {name}: pip install 'rtt-lightning[sandbox]'" for name in missing]
        return found + [problem for criterion in sample.criteria if (problem := code_problem(criterion))]

    def gives_spans(self, criterion: Criterion) -> bool:
        return False

    def _decide(self, sample: RubricSample, criterion: Criterion, answer: str) -> Verdict:
        source = str(criterion.kwargs.get("source", ""))
        try:
            outcome = self._outcome(source, call_of(source), {"rtt_answer": answer, "rtt_prompt": sample.text})
        except CheckFailed as error:
            return unscorable(f"code: {error}")
        if outcome not in (MET, UNMET):
            return unscorable(f"code: it gave {outcome}, not True or False")
        return Verdict(outcome == MET, f"code: {outcome}")

    def _outcome(self, source: str, call: str, inputs: dict[str, str]) -> str:
        *others, last = self._sandboxes
        for sandbox in others:
            try:
                return sandbox.run(source, call, inputs)
            except Unsupported:
                continue
        return last.run(source, call, inputs)


def code_problem(criterion: Criterion) -> str:
    """What is wrong with code from the data as a checker, in words; empty if nothing is."""
    source = criterion.kwargs.get("source")
    if not isinstance(source, str):
        return f"checker code must be a text in `kwargs.source`, got {type(source).__name__}"
    try:
        _parsed(source)
    except CheckFailed as error:
        return f"checker code: {error}"
    return ""


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CheckFailed(f"it does not compile: {error}") from error


def call_of(source: str) -> str:
    """The call of a check's function, on ``rtt_prompt`` and ``rtt_answer``.

    The function is named ``check_following``, ``check``, ``evaluate`` or ``verify``, or else is the last one.

    Raises:
        CheckFailed: If the code does not compile, defines no function, or needs more than these two.
    """
    functions = {node.name: node for node in _parsed(source).body if isinstance(node, ast.FunctionDef)}
    if not functions:
        raise CheckFailed("it defines no function")
    function = functions[next((name for name in CHECK_NAMES if name in functions), [*functions][-1])]
    return f"{function.name}({', '.join(_arguments(function))})"


def _arguments(function: ast.FunctionDef) -> Sequence[str]:
    parameters = [*function.args.posonlyargs, *function.args.args]
    required = [parameter.arg for parameter in parameters[: len(parameters) - len(function.args.defaults)]]
    required = required or [parameter.arg for parameter in parameters[:1]]
    if len(required) == 1:
        return ["rtt_answer"]
    prompts = [name in PROMPT_NAMES for name in required]
    if sorted(prompts) == [False, True]:
        return ["rtt_prompt" if is_prompt else "rtt_answer" for is_prompt in prompts]
    raise CheckFailed(f"{function.name} asks for {', '.join(required)}, not for an answer, or a prompt and an answer")
