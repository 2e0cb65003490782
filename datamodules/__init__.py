"""Data: one record schema, sources of records, and the two views that training needs."""

from typing import TYPE_CHECKING

from rtt_lightning.names import lazily

if TYPE_CHECKING:
    from rtt_lightning.datamodules.adapters.base import Adapter
    from rtt_lightning.datamodules.rubrics import RubricDataModule
    from rtt_lightning.datamodules.sources import ConstraintPrompts, RecordFiles, RecordSource
    from rtt_lightning.datamodules.views import LabelledPairs, LabelledResponses, PromptWindows, View

__all__ = [
    "Adapter",
    "ConstraintPrompts",
    "LabelledPairs",
    "LabelledResponses",
    "PromptWindows",
    "RecordFiles",
    "RecordSource",
    "RubricDataModule",
    "View",
]

__getattr__, __dir__ = lazily(__name__)
