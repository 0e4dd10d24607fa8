"""Shares of a study for machines that do not know of each other, such as the tasks of a Slurm array.

What is divided is the training, by whole trees of the plan: trials that share a prefix stay together.
Trees of one kind (the same rows and recipe, so that their epochs cost the same) are laid in a row,
those that learn from the same teachers beside each other, and the row is cut into pieces of equal
epochs. So every shard has its part of every kind, whatever an epoch of it costs, and needs few
teachers. A shard trains those that its students need; so may others.

Who has what is a function of the study and of what was chosen of it, not of what is done. Grids that
depend on answers are divided when they are known, and move nothing that was known before.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import data
from sweep.errors import StudyError
from sweep.expand import Cell
from sweep.needs import supporting
from sweep.plan import plan
from trials.spec import Recipe, TrialSpec

MAX_SHARDS = 1000
"""As many tasks as an array has where Slurm's own limit was left alone."""

Tree = tuple[str, str]
"""The base of trials, and the first objective: what all trials of a tree have in common."""

Kind = tuple[data.DataSpec, Recipe]


@dataclass(frozen=True)
class Shard:
    """One of several shares of a study.

    Attributes:
        index: which, from 1 to `count`.
        count: of how many.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_SHARDS:
            raise StudyError(f"--shard {self}: the number of shards must be 1 to {MAX_SHARDS:,}")
        if not 1 <= self.index <= self.count:
            raise StudyError(f"--shard {self}: shards are counted from 1 to {self.count}")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads `2/8`, the second of eight.

        Raises:
            StudyError: for anything else.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise StudyError(f"--shard {text!r}: must be I/N, such as 2/8 for the second of eight")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Share:
    """What a shard does.

    Attributes:
        cells: teachers and what else others need first, as in the study.
        repeated: trials of it that other shards need, and train, as well.
    """

    cells: tuple[Cell, ...]
    repeated: frozenset[str] = frozenset()


def tree_of(spec: TrialSpec) -> Tree:
    """The tree of the plan that a trial is in."""
    return spec.base, spec.schedule[0].objective.key


def share_of(chosen: Sequence[Cell], shard: Shard, first: Container[str] | None = None) -> Share:
    """The part of the chosen cells that one shard does.

    Students and baselines are divided, and so is what was chosen although none of them needs it. What
    they need goes with them.

    Args:
        chosen: the cells to divide, with all that they need.
        shard: which part.
        first: the trials that are known whatever is done, where that is not all of them.
    """
    learners = [cell for cell in chosen if not cell.role.supports]
    needed = supporting(learners, chosen)
    spare = [cell for cell in chosen if cell.role.supports and cell.trial_id not in needed]
    below = supporting(spare, chosen)
    divided = [*(cell for cell in spare if cell.trial_id not in below), *learners]
    shard_of = divide(divided, shard.count, first)

    def is_mine(cell: Cell) -> bool:
        return shard_of[tree_of(cell.spec)] == shard.index

    mine = [cell for cell in divided if is_mine(cell)]
    others = [cell for cell in divided if not is_mine(cell)]
    needs = supporting(mine, chosen)
    # A baseline may be a teacher too: as one trial, in the words of a teacher, as in the whole study.
    own = needs | {cell.trial_id for cell in mine}
    cells = (c for c in chosen if (c.trial_id in own if c.role.supports else is_mine(c)))
    return Share(tuple(cells), needs & supporting(others, chosen))


def divide(
    asked: Iterable[Cell], count: int, first: Container[str] | None = None
) -> dict[Tree, int]:
    """The shard of each tree, from 1.

    Args:
        asked: cells that need not know of each other.
        count: shards.
        first: trials that are divided before others, whose trees keep their shard; None for all.
    """
    asked = list(asked)
    found: dict[Tree, int] = {}
    if first is not None:
        found |= _divided([cell.spec for cell in asked if cell.trial_id in first], count)
    return found | _divided([c.spec for c in asked if tree_of(c.spec) not in found], count)


def _divided(trials: Sequence[TrialSpec], count: int) -> dict[Tree, int]:
    sizes: Counter[Tree] = Counter()
    for stage in plan(trials).stages.values():
        sizes[tree_of(stage.spec)] += stage.epochs
    needs = _rules(trials)
    found: dict[Tree, int] = {}
    loads = [0.0] * count
    met: list[set[str]] = [set() for _ in range(count)]
    for trees in _rows(trials, needs):
        whole = sum(sizes[tree] for tree in trees)
        free = list(range(count))
        pieces = [piece for piece in _cut(trees, sizes, count) if piece]
        pieces.sort(key=lambda piece: -sum(sizes[tree] for tree in piece))
        for piece in pieces:  # the largest to whom the rounding of other kinds left least
            wanted = {rule for tree in piece for rule in needs[tree]}
            place = min(free, key=lambda n: (round(loads[n], 9), -len(wanted & met[n]), n))
            free.remove(place)
            loads[place] += sum(sizes[tree] for tree in piece) / whole
            met[place] |= wanted
            found |= dict.fromkeys(piece, place + 1)
    return found


def _rules(trials: Iterable[TrialSpec]) -> dict[Tree, frozenset[str]]:
    """The keys of the rules by which each tree chooses its teachers."""
    found: dict[Tree, set[str]] = defaultdict(set)
    for spec in trials:
        found[tree_of(spec)].update(rule.key for rule in spec.rules)
    return {tree: frozenset(rules) for tree, rules in found.items()}


def _rows(trials: Iterable[TrialSpec], needs: dict[Tree, frozenset[str]]) -> Iterator[list[Tree]]:
    """The trees of each kind, in the order of the study but for those with equal needs: together."""
    kinds: dict[Kind, dict[frozenset[str], dict[Tree, None]]] = {}
    for spec in trials:
        tree = tree_of(spec)
        groups = kinds.setdefault((spec.data, spec.recipe), {})
        groups.setdefault(needs[tree], {})[tree] = None
    for groups in kinds.values():
        yield [tree for group in groups.values() for tree in group]


def _cut(trees: Iterable[Tree], sizes: Counter[Tree], count: int) -> list[list[Tree]]:
    """A row in pieces; a tree belongs to the piece that its middle is in.

    A piece has at most one tree more, or less, than its even part of the epochs.
    """
    trees = list(trees)
    whole = sum(sizes[tree] for tree in trees)
    pieces: list[list[Tree]] = [[] for _ in range(count)]
    before = 0
    for tree in trees:
        twice_middle = 2 * before + sizes[tree]
        pieces[twice_middle * count // (2 * whole)].append(tree)
        before += sizes[tree]
    return pieces
