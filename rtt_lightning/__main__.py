"""`python -m rtt_lightning` is `rtt`."""

from rtt_lightning.cli import run

run()
