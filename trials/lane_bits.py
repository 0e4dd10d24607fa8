"""Random bits for the dropout of each lane: a function of the lane's own key.

On a CPU they are those that `models.layers.DropoutStream` gives a network that is trained alone.
"""

import numpy as np
import torch
from torch import Tensor

from models.layers import DropoutStream
from trials.engine import LANES

_SIGNS = np.uint64(0x8000_8000_8000_8000)
"""Turns unsigned numbers of 16 bits into signed ones of the same order."""


class LaneBits:
    """Words of 64 random bits for one step of every lane.

    Attributes:
        words: `[lanes, words]`, int64, on the device; a step reads them where they are.
    """

    def __init__(self, words: int, device: torch.device) -> None:
        """Makes room for a number of words a lane."""
        self.words = torch.zeros(LANES, words, dtype=torch.int64, device=device)
        on_cpu = device.type == "cpu"
        self._streams = [DropoutStream() for _ in range(LANES if on_cpu else 0)]
        self._generators = [torch.Generator(device) for _ in range(0 if on_cpu else LANES)]

    def draw(self, lane: int, key: int) -> None:
        """Fills the words of a lane; equal keys give equal bits."""
        row = self.words[lane]
        if not len(row):
            return
        if self._generators:
            self._generators[lane].manual_seed(key)
            row.random_(-(2**63), None, generator=self._generators[lane])
        else:
            self._streams[lane].reseed(key)
            raw = self._streams[lane].raw(len(row)) ^ _SIGNS
            row.copy_(torch.from_numpy(raw.view(np.int64)))

    def below(self, first_word: int, words: int, units: int, threshold: int) -> Tensor:
        """Where numbers of 16 bits are below a threshold.

        Args:
            first_word: of those to read.
            words: how many.
            units: numbers wanted, at most four a word.
            threshold: of 65536.

        Returns:
            `[lanes, units]`, bool.
        """
        numbers = self.words[:, first_word : first_word + words].view(torch.int16)[:, :units]
        return numbers < threshold - 2**15
