"""What a network says of training rows whose labels were perturbed: the truth, or what it was told.

Of labels that are wrong, a network that memorises repeats the wrong one, and a network that has
learnt what the rest of the data says corrects it. Counts of rows, so that they add up.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from data.load import Split
from trials.evaluate import outputs


def label_correction(outputs: Tensor, given: Tensor, true: Tensor) -> dict[str, int]:
    """Counts the rows by what is said of them.

    Args:
        outputs: `(rows, classes)` of the network for the perturbed rows.
        given: `(rows,)` the labels that it was trained with.
        true: `(rows,)` the labels before they were perturbed.

    Returns:
        `rows`, and of these `corrected` (it says the true label), `memorised` (the wrong one that
        was given) and `other` (a third). A row whose label was drawn anew and stayed what it was
        counts as corrected where it is right, and never as memorised.

    Raises:
        ValueError: other shapes.
    """
    if outputs.ndim != 2 or not given.shape == true.shape == outputs.shape[:1]:
        raise ValueError(
            f"outputs {tuple(outputs.shape)}, given {tuple(given.shape)}, true {tuple(true.shape)}: "
            "must be (rows, classes), (rows,) and (rows,)"
        )
    said = outputs.argmax(1)
    right = said == true
    wrong = (said == given) & ~right
    corrected, memorised = torch.stack([right.sum(), wrong.sum()]).tolist()
    rows = len(said)
    return {
        "rows": rows,
        "corrected": corrected,
        "memorised": memorised,
        "other": rows - corrected - memorised,
    }


def correction_of(
    model: nn.Module,
    train: Split,
    inputs: Callable[[Tensor], Tensor],
    rows: Tensor,
    true: Tensor,
) -> dict[str, int]:
    """Asks a network, in eval mode, about the perturbed rows of its training split.

    Args:
        model: on the device of the split.
        train: with the labels as they were given, perturbed.
        inputs: turns stored inputs into the floats that the network sees.
        rows: `(n,)` int64, which rows of the split were perturbed; 0 or more.
        true: `(n,)` their labels before that.

    Returns:
        See `label_correction`.

    Raises:
        ValueError: see `label_correction`.
    """
    if len(rows) == 0:
        return {"rows": 0, "corrected": 0, "memorised": 0, "other": 0}
    there = rows.to(train.y.device)
    asked = Split(train.x[there], train.y[there])
    return label_correction(outputs(model, asked, inputs), asked.y, true.to(train.y.device))
