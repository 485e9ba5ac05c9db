"""What models say of the data: how many numbers they give, and of what."""

from typing import Any


def num_outputs(info: Any) -> int:
    """Numbers of a prediction: the targets of a regression, else the classes.

    Raises:
      ValueError: the data has neither.
    """
    outputs = info.num_targets or info.num_classes
    if not outputs:
        raise ValueError("the data has neither classes nor targets: there is nothing to predict")
    return outputs
