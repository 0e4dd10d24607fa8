"""The stages that can start, in the order in which they are given out."""

from collections.abc import Callable


class Ready:
    """A stack of stages: what was released last starts first, so few trees are open at a time.

    A stage that leaves a snapshot waits while the snapshots that are held fill their room, and
    stages that only use one up go first; if there is nothing else to do, it starts all the same.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self._pushed = 0
        self._leaving: list[tuple[int, str]] = []
        self._ending: list[tuple[int, str]] = []

    def __len__(self) -> int:
        """How many wait."""
        return len(self._leaving) + len(self._ending)

    def push(self, key: str, leaves_snapshot: bool) -> None:
        """Adds a stage.

        Args:
            key: of the stage.
            leaves_snapshot: whether others go on from it.
        """
        self._pushed += 1
        (self._leaving if leaves_snapshot else self._ending).append((self._pushed, key))

    def drain(self) -> list[tuple[str, bool]]:
        """Takes all, in the order in which they were pushed: `push` takes them again."""
        entries = [(*entry, True) for entry in self._leaving]
        entries += [(*entry, False) for entry in self._ending]
        self._leaving, self._ending = [], []
        return [(key, leaves) for _, key, leaves in sorted(entries)]

    def pop(self, has_room: Callable[[str], bool], idle: bool) -> str | None:
        """Takes the next stage to start.

        Args:
            has_room: whether the snapshot of a stage fits beside those that are held.
            idle: whether nothing is running, so that waiting would be for ever.

        Returns:
            Its key; None where there is none, or all must wait for room.
        """
        if self._leaving and (not self._ending or self._leaving[-1] > self._ending[-1]):
            key = self._leaving[-1][1]
            if has_room(key) or (idle and not self._ending):
                self._leaving.pop()
                return key
        return self._ending.pop()[1] if self._ending else None

    def pop_fitting(
        self, fits: Callable[[str], bool], has_room: Callable[[str], bool]
    ) -> str | None:
        """Takes the next stage to start among those that fit somewhere.

        Args:
            fits: whether a stage does.
            has_room: as for `pop`.

        Returns:
            Its key; None where there is none.
        """
        found: tuple[int, str] | None = None
        for stack, leaves in ((self._leaving, True), (self._ending, False)):
            for entry in reversed(stack):
                if found is not None and entry < found:
                    break
                if fits(entry[1]) and (not leaves or has_room(entry[1])):
                    found = entry
                    break
        if found is None:
            return None
        (self._leaving if found in self._leaving else self._ending).remove(found)
        return found[1]
