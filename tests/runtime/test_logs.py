"""A figure that is not known is absent from everything that Lightning logs, even if it was known before."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

from rtt_lightning.runtime.logs import MetricLog

KNOWN = [{"reward": 1.0, "length": 5.0}, {"length": 6.0}, {"reward": 3.0, "length": 7.0}, {"length": torch.nan}]


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.metrics = MetricLog()
        self.seen: list[dict[str, float]] = []
        self.validated: list[dict[str, float]] = []

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        self.metrics(self, "rollout", KNOWN[batch], prog_bar=True)
        self.log("other/reward", 9.0)
        return self.weight.sum()

    def on_train_batch_end(self, *args: object) -> None:
        names = ("rollout/reward", "rollout/length", "other/reward")
        shown = (self.trainer.callback_metrics, self.trainer.logged_metrics, self.trainer.progress_bar_metrics)
        assert all(("rollout/reward" in metrics) == ("rollout/reward" in shown[0]) for metrics in shown)
        self.seen.append({name: float(shown[0][name]) for name in names if name in shown[0]})

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Figures come at the end of the epoch."""

    def on_validation_epoch_end(self) -> None:
        self.metrics(self, "val", {} if len(self.seen) == 4 else {"accuracy": 0.5})

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_what_is_not_known_is_absent_rather_than_its_last_value(tmp_path) -> None:
    module, logger = Module(), CSVLogger(str(tmp_path), name="", version="")
    data: Any = DataLoader(range(4), batch_size=None)  # pyright: ignore[reportArgumentType]
    flags: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=1, logger=logger, log_every_n_steps=1, val_check_interval=2, **flags)
    trainer.fit(module, data, data)
    assert [metrics.get("rollout/reward") for metrics in module.seen] == [1, None, 3, None]
    assert [metrics["other/reward"] for metrics in module.seen] == [9] * 4
    assert module.seen[2]["rollout/length"] == 7
    assert str(module.seen[3]["rollout/length"]) == "nan"  # which was measured
    assert "val/accuracy" not in trainer.callback_metrics
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    at = rows[0].split(",").index("rollout/reward")
    assert [row.split(",")[at] for row in rows[1:]] == ["1.0", "", "", "3.0", ""]  # the third is the validation's
