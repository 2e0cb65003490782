"""Two processes train a sharded discriminator, all criteria in one pass, as one process trains a whole one."""

from pathlib import Path

import pytest

from tests.distributed.conftest import FSDP, Run
from tests.distributed.test_parity import assert_equal_runs, recorded
from tests.modules.test_discriminator import discriminator_args

pytestmark = pytest.mark.slow


def test_two_processes_train_a_sharded_discriminator_as_one_does(rtt: Run, tiny_model: str, tmp_path: Path) -> None:
    sgd = ("--model.init_args.optimizer=torch.optim.SGD", "--model.init_args.optimizer.init_args.lr=0.1")
    flags = ("--model.init_args.one_pass=true", "--data.view=rtt_lightning.LabelledResponses", "--seed_everything=1")
    limits = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=0")
    _, *arguments = discriminator_args(tmp_path, tiny_model, *sgd, *flags, *limits, "--trainer.callbacks=[]")
    one = recorded(rtt, tmp_path / "one.pt", *arguments, "--data.view.init_args.batch_size=6")
    two = recorded(rtt, tmp_path / "two.pt", *arguments, *FSDP, "--data.view.init_args.batch_size=3", processes=2)
    assert_equal_runs(one, two)
