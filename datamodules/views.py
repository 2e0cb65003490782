"""The two views of the data: prompts in windows for the policy, labelled pairs for the discriminator."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby

from rtt_lightning.datamodules.loaders import ALL, Item, Share, StatefulLoader, shuffled
from rtt_lightning.datamodules.records import Record
from rtt_lightning.datamodules.sources import Split
from rtt_lightning.types.batches import Pair, PairBatch, PromptBatch
from rtt_lightning.types.errors import UserError


class View(ABC):
    """Makes loaders of records. On several processes all loaders are equally long; some batches may be empty, so that
    every process takes part in each collective and none sees padding.
    """

    held_out_seed = 0
    """Seed of what ``data.val_share`` holds out. It differs between views, so that a discriminator that learns from a
    policy's responses holds out other prompts than the policy.
    """

    @abstractmethod
    def train_loader(
        self, records: Sequence[Record], accumulate: int, seed: int, share: Share = ALL, reshuffle: bool = True
    ) -> StatefulLoader:
        """Shuffled training batches; ``accumulate`` micro-batches make one optimiser update. Without ``reshuffle`` all
        epochs are like the first.
        """

    @abstractmethod
    def eval_loader(self, records: Sequence[Record], split: Split, share: Share = ALL) -> StatefulLoader:
        """Every record once, in order, divided among the processes."""


class PromptWindows(View):
    """Prompts for a policy. A window is sampled at once, and trained on in one or more updates.

    A batch is one micro-batch of a window, for the rollout callback to sample and fill in.

    Args:
        prompts: Prompts per window, over all processes together.
        updates: Optimiser updates per window, which share its prompts.
        eval_prompts: Prompts per batch and process in validation.
    """

    held_out_seed = 1

    def __init__(self, prompts: int = 8, updates: int = 1, eval_prompts: int = 16) -> None:
        if prompts < 1 or updates < 1 or eval_prompts < 1:
            raise UserError(f"prompts, updates and eval_prompts must be >= 1, got {prompts}, {updates}, {eval_prompts}")
        self.prompts, self.updates, self.eval_prompts = prompts, updates, eval_prompts

    def train_loader(
        self, records: Sequence[Record], accumulate: int, seed: int, share: Share = ALL, reshuffle: bool = True
    ) -> StatefulLoader:
        windows = len(records) // self.prompts
        if not windows:
            raise UserError(f"{len(records)} training prompts do not fill a window of {self.prompts}; lower prompts")
        if self.prompts < share.ranks:
            raise UserError(
                f"a window of {self.prompts} prompts leaves some of {share.ranks} processes without one; raise prompts"
            )
        if self.prompts <= share.ranks * (self.updates - 1):
            raise UserError(
                f"a window of {self.prompts} prompts over {share.ranks} processes leaves some of its {self.updates} "
                f"updates without one; raise prompts above {share.ranks * (self.updates - 1)}, or lower updates"
            )

        def batches(epoch: int) -> list[PromptBatch]:
            order = shuffled(len(records), seed, epoch if reshuffle else 0)
            return [
                PromptBatch(
                    window=epoch * windows + window,
                    prompts=[*share.of(order[window * self.prompts : (window + 1) * self.prompts])],
                    split="train",
                    micro_batch=micro_batch,
                    updates=self.updates,
                )
                for window in range(windows)
                for micro_batch in range(accumulate * self.updates)
            ]

        window = {"prompts per window": self.prompts, "updates per window": self.updates}
        settings = {"training prompts": len(records), **window, "micro-batches per update": accumulate}
        return StatefulLoader(batches, settings, together=accumulate * self.updates)

    def eval_loader(self, records: Sequence[Record], split: Split, share: Share = ALL) -> StatefulLoader:
        index = range(len(records))
        chunks = _chunks(index, self.eval_prompts * share.ranks)
        batches = [PromptBatch(prompts=[*share.of(chunk)], split=split) for chunk in chunks]
        return StatefulLoader(lambda epoch: batches)


class LabelledPairs(View):
    """(criterion, response) pairs with the characters that are relevant to them, for a discriminator.

    Pairs whose relevant characters are unknown are left out. Whether the criterion is met may be unknown, if spans are
    given.

    Args:
        batch_size: Pairs per micro-batch and process.
        uniform_share: Share in [0, 1] of the uniform training pairs to keep, whose response is relevant as a whole or
            not at all. They are most of the pairs and teach least. Validation keeps all.
    """

    unit = "pairs"
    """What a batch has ``batch_size`` of."""

    def __init__(self, batch_size: int = 16, uniform_share: float = 1.0) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 <= uniform_share <= 1:
            raise UserError(f"uniform_share must be between 0 and 1, got {uniform_share}")
        self.batch_size, self.uniform_share = batch_size, uniform_share

    def train_loader(
        self, records: Sequence[Record], accumulate: int, seed: int, share: Share = ALL, reshuffle: bool = True
    ) -> StatefulLoader:
        units = self.units(self._thinned(labelled_pairs(records), seed))
        together = self.batch_size * share.ranks

        def batches(epoch: int) -> list[PairBatch]:
            order = self.shuffled_units(units, seed, epoch if reshuffle else 0)
            found: list[PairBatch] = []
            for update in _chunks(order, together * accumulate):
                first, *others = [_batch(share.of(micro_batch)) for micro_batch in _chunks(update, together)]
                found += [{**first, "update": [batch["pairs"] for batch in (first, *others)]}, *others]
            return found

        settings = {f"{self.unit} per micro-batch of all processes": together, "micro-batches per update": accumulate}
        return StatefulLoader(batches, {f"training {self.unit}": len(units), **settings}, together=accumulate)

    def eval_loader(self, records: Sequence[Record], split: Split, share: Share = ALL) -> StatefulLoader:
        chunks = _chunks(self.units(labelled_pairs(records)), self.batch_size * share.ranks)
        batches = [_batch(share.of(chunk)) for chunk in chunks]
        return StatefulLoader(lambda epoch: batches)

    def units(self, pairs: Sequence[Pair]) -> list[list[Pair]]:
        """What stays together, in one batch."""
        return [[pair] for pair in pairs]

    def shuffled_units(self, units: Sequence[list[Pair]], seed: int, epoch: int) -> list[list[Pair]]:
        """In the order of an epoch."""
        return [units[index] for index in shuffled(len(units), seed, epoch)]

    def _thinned(self, pairs: list[Pair], seed: int) -> list[Pair]:
        """All mixed pairs, and the configured share of the uniform ones, drawn once."""
        uniform = [index for index, pair in enumerate(pairs) if _is_uniform(pair)]
        order = shuffled(len(uniform), seed, epoch=0)
        left_out = {uniform[index] for index in order[round(self.uniform_share * len(uniform)) :]}
        kept = [pair for index, pair in enumerate(pairs) if index not in left_out]
        if not kept:
            raise UserError(
                f"all {len(pairs)} pairs are uniform, and a uniform_share of {self.uniform_share} keeps none; raise it"
            )
        return kept


class LabelledResponses(LabelledPairs):
    """All labelled pairs of a response together, for a discriminator that reads its criteria in one pass. The responses
    to a prompt come one after the other: in a batch they share the computation of its criteria.

    Args:
        batch_size: Responses per micro-batch and process.
        uniform_share: As of `LabelledPairs`.
    """

    unit = "responses"

    def units(self, pairs: Sequence[Pair]) -> list[list[Pair]]:
        return [[*group] for _, group in groupby(pairs, key=lambda pair: (pair["prompt_id"], pair["response"]))]

    def shuffled_units(self, units: Sequence[list[Pair]], seed: int, epoch: int) -> list[list[Pair]]:
        prompts = [[*group] for _, group in groupby(units, key=lambda unit: unit[0]["prompt_id"])]
        return [unit for index in shuffled(len(prompts), seed, epoch) for unit in prompts[index]]


def labelled_pairs(records: Sequence[Record]) -> list[Pair]:
    """A pair per criterion with known relevant characters: of a verdict, or given without one.

    Raises:
        UserError: If there is none.
    """
    pairs = [
        Pair(
            prompt_id=record.sample.id,
            criterion=criterion.text,
            response=answer,
            spans=spans,
            checker=criterion.checker,
            scope=verdict.scope,
            polarity=verdict.polarity,
        )
        for record in records
        if record.judged and (answer := record.judged.rollout.answer)
        for criterion, verdict in record.judged.decisions
        if (verdict.met, verdict.spans) != (None, None) and (spans := verdict.relevant(len(answer))) is not None
    ]
    if not pairs:
        raise UserError(
            f"none of the {len(records)} records holds a response with verdicts and spans; "
            "make some with `rtt predict` or, where no rule says which words decide, `rtt annotate`"
        )
    return pairs


def _is_uniform(pair: Pair) -> bool:
    """Whether the criterion's spans hold all characters of the response, or none."""
    relevant = {character for start, end in pair["spans"] for character in range(start, end)}
    return len(relevant) in (0, len(pair["response"]))


def _chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _batch(units: Sequence[Sequence[Pair]]) -> PairBatch:
    pairs = [pair for unit in units for pair in unit]
    return PairBatch(pairs=pairs, prompt_id=[pair["prompt_id"] for pair in pairs])
