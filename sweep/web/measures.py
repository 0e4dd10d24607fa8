"""What cells can be compared by: the headline metric, or what is left of it under an attack, on test.

Results name an attack and its strength, and so do requests: `fgsm 0.05`, as figures of a study do
(`analysis.measure_names`). What was measured is read when somebody asks for it and not before; what a
file holds, its name says, so a file is read once.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.columns import EPSILON_DECIMALS
from sweep.errors import StoreError
from sweep.results import POINT
from sweep.store import Reading, Store
from sweep.web.asked import Numbers
from sweep.web.problems import ProblemError
from sweep.web.view import DONE, Floats, View, measuring
from sweep.web.watch import Moment

METRIC = "metric"
"""The name of the headline metric among measures."""

COLUMNS = ("trial_id", "robustness")
MOST_VIEWS = 8


@dataclass(frozen=True, order=True)
class Attack:
    """An attack at a strength.

    Attributes:
        name: as results have it.
        epsilon: its strength, in the space that the attack acts in.
    """

    name: str
    epsilon: float

    @property
    def measure(self) -> str:
        """What a request calls it: "fgsm 0.05"."""
        return f"{self.name} {self.epsilon:.{EPSILON_DECIMALS}g}"

    @property
    def title(self) -> str:
        """What people call it: "FGSM 0.05"."""
        from analysis.words import attack_title

        return f"{attack_title(self.name)} {self.epsilon:g}"


@dataclass(frozen=True, eq=False)
class Points:
    """What was measured under attack at one moment, on the test split. Arrays have the shape (points,).

    Attributes:
        trials, later: of the moment whose points these are.
        attacks: those there are, each once.
        attack: of each point, the position in `attacks`.
        row: of each point, that of its trial among all trials.
        value: the metric under attack; NaN where it is null. Of several points of a trial under an
            attack the first one counts: what the training measured itself, else what came first.
    """

    trials: Reading
    later: Reading
    attacks: tuple[Attack, ...]
    attack: Numbers
    row: Numbers
    value: Floats

    def known(self, view: View) -> list[Attack]:
        """The attacks under which finished trials of a study were measured, in order."""
        own = np.zeros(len(self.trials.rows), dtype=bool)
        own[view.row[_finished(view)]] = True
        measured = own[self.row] & np.isfinite(self.value)
        return sorted(self.attacks[code] for code in np.unique(self.attack[measured]))

    def values(self, view: View, attack: Attack) -> Floats:
        """What a study's cells are under an attack, shape (cells,); NaN where it was not measured."""
        chosen = np.flatnonzero(self.attack == self.attacks.index(attack))
        chosen = chosen[::-1]  # the first of a trial is written last, and stays
        by_trial = np.full(len(self.trials.rows), np.nan)
        by_trial[self.row[chosen]] = self.value[chosen]
        found = np.full(len(view.row), np.nan)
        finished = _finished(view)
        found[finished] = by_trial[view.row[finished]]
        return found


class Measures:
    """What was measured under attack, of the latest moment that somebody asked about.

    Attributes:
        missed: how often the results could not be read; what was said then is not to be kept.
    """

    def __init__(self, store: Store) -> None:
        """Reads nothing yet."""
        self.missed = 0
        self._store = store
        self._reading = threading.Lock()
        self._parts: Mapping[PurePath, pa.Table] = {}
        self._points: Points | None = None
        self._views: OrderedDict[tuple[str, Attack], tuple[View, Points, View]] = OrderedDict()

    def of(self, moment: Moment, view: View) -> list[Attack]:
        """What a study's cells can be compared by beside the metric.

        Args:
            moment: the results.
            view: of the study at that moment.

        Raises:
            StoreError: where the results cannot be read.
        """
        return self._at(moment).known(view)

    def view(self, moment: Moment, view: View, measure: str | None) -> tuple[View, Attack | None]:
        """A study by another measure.

        Args:
            moment: the results.
            view: of the study at that moment.
            measure: `METRIC`, or the `Attack.measure` of one that the study was measured under; None
                is the metric.

        Returns:
            The view, whose figures are of that measure; and the attack, None for the metric.

        Raises:
            ProblemError: for another measure.
            StoreError: where the results cannot be read.
        """
        if measure is None or measure == METRIC:
            return view, None
        points = self._at(moment)
        known = points.known(view)
        attack = next((one for one in known if _is_called(one, measure)), None)
        if attack is None:
            allowed = ", ".join([METRIC, *(one.measure for one in known)])
            raise ProblemError(400, f"measure: {measure!r} is not one of {allowed}")
        key = (view.asked.name, attack)
        found = self._views.get(key)
        if found is None or found[0] is not view or found[1] is not points:
            found = view, points, measuring(view, points.values(view, attack))
            self._views[key] = found
            while len(self._views) > MOST_VIEWS:
                self._views.popitem(last=False)
        return found[2], attack

    def _at(self, moment: Moment) -> Points:
        with self._reading:  # once for all who ask
            known = self._points
            same = known is not None and known.trials is moment.trials
            if known is None or not same or known.later is not moment.points:
                try:
                    read = self._store.trials.read_on(COLUMNS, self._parts)
                except StoreError:
                    self.missed += 1
                    raise
                self._parts = read.parts
                known = self._points = _points(read.rows, moment)
            return known


def _points(trained: pa.Table, moment: Moment) -> Points:
    """The points of a moment: what trainings measured, then what was measured later."""
    ids = moment.trials.rows["trial_id"]
    lists = trained["robustness"].combine_chunks()
    own = pa.Table.from_struct_array(pc.list_flatten(lists)).select(POINT)
    later = moment.points.rows
    later = later.filter(pc.equal(pc.fill_null(later["split"], "test"), "test"))
    points = pa.concat_tables([own, later.select(POINT)])
    rows_of_trained = _rows(trained["trial_id"], ids)[pc.list_parent_indices(lists).to_numpy()]
    row = np.concatenate([rows_of_trained, _rows(later["trial_id"], ids)])
    names, name = _coded(points["attack"].combine_chunks())
    rounded = np.round(points["epsilon"].to_numpy(), EPSILON_DECIMALS)
    epsilons, epsilon = _coded(pa.array(rounded, from_pandas=True))
    value: Floats = points["value"].to_numpy()
    good = (row >= 0) & (name >= 0) & (epsilon >= 0)
    both = name[good] * len(epsilons) + epsilon[good]
    there = np.flatnonzero(np.bincount(both))
    place = np.zeros(int(there.max()) + 1 if len(there) else 0, np.int64)
    place[there] = np.arange(len(there))
    return Points(
        trials=moment.trials,
        later=moment.points,
        attacks=tuple(
            Attack(names[code // len(epsilons)], epsilons[code % len(epsilons)])
            for code in there.tolist()
        ),
        attack=place[both],
        row=row[good],
        value=value[good],
    )


def _rows(ids: pa.ChunkedArray, among: pa.ChunkedArray) -> Numbers:
    """The position of each id among others, -1 where it is not there."""
    found: Numbers = pc.fill_null(pc.index_in(ids, value_set=among), -1).to_numpy()
    return found.astype(np.int64)


def _coded(column: pa.Array) -> tuple[list[Any], Numbers]:
    """The values there are, and the position of each row's among them, -1 where it is null."""
    coded = column.dictionary_encode()
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    return coded.dictionary.to_pylist(), codes.astype(np.int64)


def _finished(view: View) -> NDArray[np.bool_]:
    finished: NDArray[np.bool_] = (view.status == DONE) & (view.row >= 0)
    return finished


def _is_called(attack: Attack, measure: str) -> bool:
    """Whether a request means an attack; 0.050 is 0.05."""
    name, _, number = measure.strip().rpartition(" ")
    try:
        asked = Attack(name, round(float(number), EPSILON_DECIMALS))
    except ValueError:
        return False
    return asked.measure == attack.measure
