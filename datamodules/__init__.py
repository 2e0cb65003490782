"""Data: one record schema, sources of records, and the two views that training needs."""

from rtt_lightning.datamodules.rubrics import RubricDataModule
from rtt_lightning.datamodules.sources import ConstraintPrompts, RecordFiles, RecordSource
from rtt_lightning.datamodules.views import LabelledPairs, PromptWindows, View

__all__ = [
    "ConstraintPrompts",
    "LabelledPairs",
    "PromptWindows",
    "RecordFiles",
    "RecordSource",
    "RubricDataModule",
    "View",
]
