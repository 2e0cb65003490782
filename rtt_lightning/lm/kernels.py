"""What a loaded model computes by functions of this package and of PyTorch, in place of its own."""

from transformers import PreTrainedModel

from rtt_lightning.lm.attention import use_segments
from rtt_lightning.lm.norms import use_rms_norm


def use_own_kernels(model: PreTrainedModel) -> None:
    """Attention over the segments of a packed row, and RMS norms, where the model allows it."""
    use_segments(model)
    use_rms_norm(model)
