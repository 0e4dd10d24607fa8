"""How training steps are executed: a function of the device, never of what else is running."""

from typing import Literal

Engine = Literal["eager", "graph"]


def engine_for(device_type: str) -> Engine:
    """The engine of a device: captured steps on a CUDA device, eager ones elsewhere."""
    return "graph" if device_type == "cuda" else "eager"
