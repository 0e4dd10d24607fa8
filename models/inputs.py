"""What shapes of inputs a network can take; decided without torch, before anything is built."""

from collections.abc import Sequence


def image(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """The channels, height and width of an image.

    Raises:
        ValueError: the inputs are no images.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape = {tuple(input_shape)}: must be (channels, height, width), all positive"
        )
    channels, height, width = input_shape
    return channels, height, width


def patched(input_shape: Sequence[int], patch: int) -> tuple[int, int]:
    """The channels and the side of a square image of whole patches.

    Args:
        input_shape: of one input.
        patch: side of a patch in pixels.

    Raises:
        ValueError: the inputs are no such images.
    """
    channels, height, width = image(input_shape)
    if height != width or height % patch:
        raise ValueError(
            f"input_shape = {tuple(input_shape)}: must be (channels, side, side), the side a "
            f"multiple of {patch}"
        )
    return channels, height
