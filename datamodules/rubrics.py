"""`RubricDataModule`, shared by the policy and the discriminator."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from lightning.pytorch import LightningDataModule
from transformers import PreTrainedTokenizerBase

from rtt_lightning.datamodules.adapters import Adapter, adapter_named
from rtt_lightning.datamodules.lengths import Overlong, check_vocabulary, limit_lengths
from rtt_lightning.datamodules.limits import count_whole
from rtt_lightning.datamodules.loaders import Share, StatefulLoader
from rtt_lightning.datamodules.records import Record, parse_rows
from rtt_lightning.datamodules.sources import ConstraintPrompts, RecordSource, Split
from rtt_lightning.datamodules.views import PromptWindows, View
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.rollout.requests import CHECKS, refuse
from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.runtime.seeds import sampling_seed
from rtt_lightning.runtime.terminal import counted
from rtt_lightning.types import RubricSample
from rtt_lightning.types.errors import UserError

SPLITS_OF_STAGE: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("train",),
}


class RubricDataModule(LightningDataModule):
    """Prompts with rubrics, checked on loading.

    Args:
        source: Gives rows.
        format: How rows are read: the name of a known format, or your own adapter.
        val_format: How validation and test rows are read; null to read them as training rows.
        view: What a batch holds: windows of prompts, or labelled pairs.
        tokenizer: Folder or hub name; its chat template renders the prompts of windows to measure them.
        chat_template_kwargs: Further arguments of the policy's chat template, such as ``{enable_thinking: false}``, for
            every prompt.
        max_prompt_tokens: Longest rendered prompt.
        overlong: What to do with longer ones: raise an error, drop them, or truncate their beginning; the latter two
            with a warning that names them.
        val_share: Share of the training prompts to hold out if the source has no validation rows, in [0, 1); at least
            one of several. No prompt is on both sides.
        seed: Of the order of the training data; null for the run's (`seed_everything`), or 0 without one.

    Raises:
        UserError: For an unknown format or a share out of range.
    """

    def __init__(
        self,
        source: RecordSource = lazy_instance(ConstraintPrompts),
        format: Adapter | str = "rtt",
        val_format: Adapter | str | None = None,
        view: View = lazy_instance(PromptWindows),
        tokenizer: str | None = None,
        chat_template_kwargs: dict[str, Any] | None = None,
        max_prompt_tokens: int = 2048,
        overlong: Overlong = "error",
        val_share: float = 0.0,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= val_share < 1:
            raise UserError(f"data.val_share must be in [0, 1), got {val_share}")
        self.source, self.view, self.val_share = source, view, val_share
        self.adapter = _adapter(format)
        self.val_adapter = _adapter(val_format) if val_format else self.adapter
        self.tokenizer, self.chat_template_kwargs = tokenizer, chat_template_kwargs
        self.max_prompt_tokens, self.seed = max_prompt_tokens, seed or 0
        self.overlong: Overlong = overlong
        self.records: dict[Split, list[Record]] = {}

    def setup(self, stage: str) -> None:
        for split in SPLITS_OF_STAGE[stage]:
            if split not in self.records:
                records = self._read(split)
                if self.tokenizer and records and isinstance(self.view, PromptWindows):
                    tokenizer = load_tokenizer(self.tokenizer)
                    records = limit_lengths(
                        records, tokenizer, self.max_prompt_tokens, self.overlong, self.chat_template_kwargs
                    )
                self.records[split] = records

    def _read(self, split: Split) -> list[Record]:
        if not self.val_share or split == "test":
            return self._parsed(split)
        if self.source.rows("val"):
            raise UserError(
                f"data.val_share {self.val_share} holds out training prompts, but the source has validation rows: set "
                "data.val_share 0 to use these"
            )
        records = self._parsed("train")
        sides = held_out(records, self.val_share, self.view.held_out_seed)
        kept = [record for record, is_out in sides if is_out == (split == "val")]
        if not kept:
            prompts = counted(len({record.sample.text for record in records}), "prompt")
            raise UserError(
                f"data.val_share {self.val_share} of {prompts} leaves none for {split!r}; set another share, or give "
                "validation data (data.source.init_args.val)"
            )
        return kept

    def _parsed(self, split: Split) -> list[Record]:
        rows = self.source.rows(split)
        return parse_rows(rows, self.adapter if split == "train" else self.val_adapter) if rows else []

    def train_dataloader(self) -> StatefulLoader:
        assert self.trainer is not None, "a loader needs a trainer"
        records = self._needed("train")
        trainer: Any = self.trainer
        reshuffle = not trainer.overfit_batches
        loader = self.view.train_loader(records, trainer.accumulate_grad_batches, self.seed, self._share(), reshuffle)
        count_whole(trainer, loader)
        return loader

    def val_dataloader(self) -> StatefulLoader | list[StatefulLoader]:
        assert self.trainer is not None, "a loader needs a trainer"
        if self.trainer.state.fn == "fit" and not self.records["val"]:
            return []
        return self.view.eval_loader(self._needed("val"), "val", self._share())

    def test_dataloader(self) -> StatefulLoader:
        return self.view.eval_loader(self._needed("test"), "test", self._share())

    def predict_dataloader(self) -> StatefulLoader:
        """The training prompts in order: `rtt predict` makes labelled responses for a discriminator."""
        return self.view.eval_loader(self._needed("train"), "train", self._share())

    def samples(self) -> list[RubricSample]:
        """The samples of all loaded splits."""
        return [record.sample for records in self.records.values() for record in records]

    def state_dict(self) -> dict[str, Any]:
        """What was trained on, for a checkpoint: number and SHA-256 of the training records."""
        return {"records": len(self.records["train"]), "sha256": self._digest} if self.records.get("train") else {}

    @cached_property
    def _digest(self) -> str:
        """Of prompts, criteria and, with responses, these and their verdicts; not of tokens."""
        digest = hashlib.sha256()
        for record in self.records["train"]:
            answer = record.judged and (record.judged.rollout.answer, [v.to_row() for v in record.judged.verdicts])
            digest.update(json.dumps([record.sample.to_row(), answer], sort_keys=True, default=list).encode())
        return digest.hexdigest()

    def check_criteria(self, problems: Callable[[RubricSample], Sequence[str]]) -> None:
        """Raise if criteria cannot be decided, with all problems at once.

        Args:
            problems: The verifier's: what is wrong with a sample, in words.
        """
        refuse(self.samples(), problems, *CHECKS)

    def check_weighable(self, problems: Callable[[RubricSample], Sequence[str]]) -> None:
        """Raise if the relevance source, whose ``problems`` these are, cannot weigh responses to training prompts."""
        train = [record.sample for record in self.records["train"]]
        refuse(train, problems, "the relevance source cannot weigh responses to the training data", "prompts")

    def check_vocabulary(self, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
        """Raise for prompts with tokens beyond the ``rows`` of a model's embedding, see `check_vocabulary`."""
        check_vocabulary(self.samples(), tokenizer, rows, self.chat_template_kwargs)

    def _share(self) -> Share:
        """This process's share. Only data parallelism is supported: tensor-parallel processes would need equal data."""
        assert self.trainer is not None, "a loader needs a trainer"
        return Share(self.trainer.global_rank, self.trainer.world_size)

    def _needed(self, split: Split) -> list[Record]:
        if not self.records[split]:
            raise UserError(f"the data has no {split!r} split; set data.source.init_args.{split}")
        return self.records[split]


def _adapter(format: Adapter | str) -> Adapter:
    return adapter_named(format) if isinstance(format, str) else format


def held_out(records: Sequence[Record], share: float, seed: int) -> list[tuple[Record, bool]]:
    """Each with whether its prompt belongs to the ``share`` for validation: by its text and the seed alone, but of
    several prompts at least one does.
    """
    drawn = [sampling_seed(seed, 0, record.sample.text, 0) % 10_000 for record in records]
    bound = max(share * 10_000, min(drawn) + 1 if len({*drawn}) > 1 else 0)
    return [(record, each < bound) for record, each in zip(records, drawn, strict=True)]
