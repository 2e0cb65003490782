"""`RubricDataModule`, which the policy and the discriminator share."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from jsonargparse.typing import lazy_instance
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn

from rtt_lightning.datamodules.loaders import Share, StatefulLoader
from rtt_lightning.datamodules.records import Record
from rtt_lightning.datamodules.sources import ConstraintPrompts, RecordSource, Split
from rtt_lightning.datamodules.views import PromptWindows, View
from rtt_lightning.tokenizers import load_tokenizer, render_prompt
from rtt_lightning.types import RubricSample

SPLITS_OF_STAGE: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("train",),
}


class RubricDataModule(LightningDataModule):
    """Prompts with rubrics, checked on loading.

    Args:
        source: Where records come from.
        view: What a batch is: windows of prompts, or labelled pairs.
        tokenizer: Folder or hub name; prompts are rendered with its chat template to measure them.
        max_prompt_tokens: Longest rendered prompt.
        overlong: What to do with longer ones: end with an error, or drop them and say how many.
        seed: Order of the training data.
    """

    def __init__(
        self,
        source: RecordSource = lazy_instance(ConstraintPrompts),
        view: View = lazy_instance(PromptWindows),
        tokenizer: str | None = None,
        max_prompt_tokens: int = 2048,
        overlong: Literal["error", "drop"] = "error",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source, self.view = source, view
        self.tokenizer = tokenizer
        self.max_prompt_tokens, self.overlong, self.seed = max_prompt_tokens, overlong, seed
        self.records: dict[Split, list[Record]] = {}

    def setup(self, stage: str) -> None:
        for split in SPLITS_OF_STAGE[stage]:
            if split not in self.records:
                records = self.source.load(split)
                self.records[split] = self._within_length(records) if self.tokenizer else records

    def train_dataloader(self) -> StatefulLoader:
        assert self.trainer is not None, "loaders are made for a trainer"
        records = self._needed("train")
        return self.view.train_loader(records, self.trainer.accumulate_grad_batches, self.seed, self._share())

    def val_dataloader(self) -> StatefulLoader | list[StatefulLoader]:
        assert self.trainer is not None, "loaders are made for a trainer"
        if self.trainer.state.fn == "fit" and not self.records["val"]:
            return []
        return self.view.eval_loader(self._needed("val"), "val", self._share())

    def test_dataloader(self) -> StatefulLoader:
        return self.view.eval_loader(self._needed("test"), "test", self._share())

    def predict_dataloader(self) -> StatefulLoader:
        """The training prompts in order: predicting makes labelled responses for a discriminator."""
        return self.view.eval_loader(self._needed("train"), "train", self._share())

    def check(self, problems: Callable[[RubricSample], Sequence[str]]) -> None:
        """Refuse data whose criteria cannot be decided, all at once.

        Args:
            problems: What is wrong with a sample, in words; from the verifier.
        """
        found = Counter(p for records in self.records.values() for r in records for p in problems(r.sample))
        if found:
            listed = "\n".join(f"  {problem} ({count} criteria)" for problem, count in found.most_common(20))
            raise ValueError(f"the data asks for checks that the verifier cannot make\n{listed}")

    def _share(self) -> Share:
        """Tensor-parallel processes of one replica would need equal data; only data parallelism is supported."""
        assert self.trainer is not None, "loaders are made for a trainer"
        return Share(self.trainer.global_rank, self.trainer.world_size)

    def _needed(self, split: Split) -> list[Record]:
        if not self.records[split]:
            raise ValueError(f"the data has no {split!r} split; set data.source.init_args.{split}")
        return self.records[split]

    def _within_length(self, records: list[Record]) -> list[Record]:
        tokenizer = load_tokenizer(self.tokenizer or "")
        lengths = [len(render_prompt(tokenizer, record.sample.messages)) for record in records]
        long = [(r.sample.id, n) for r, n in zip(records, lengths, strict=True) if n > self.max_prompt_tokens]
        if not long:
            return records
        shown = ", ".join(f"{name} ({n} tokens)" for name, n in long[:10])
        message = f"{len(long)} of {len(records)} prompts are longer than {self.max_prompt_tokens} tokens: {shown}"
        if self.overlong == "error":
            raise ValueError(f"{message}; raise data.max_prompt_tokens or set data.overlong to drop")
        rank_zero_warn(f"{message}; dropped")
        return [r for r, n in zip(records, lengths, strict=True) if n <= self.max_prompt_tokens]
