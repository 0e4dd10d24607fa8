"""What a study costs: counts and epochs exactly, time and disk from earlier results."""

from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweep.cells import Demand
from sweep.expand import Cell, Role
from sweep.plan import Plan, Stage, plan
from sweep.records import tuples
from sweep.store import Store

BYTES_PER_RECORD, BYTES_PER_POINT = 300, 6
"""What a record and a point of its curve take in a folded file. Measured: 339 bytes a trial with 6
points (quickstart, 147 trials), 9,250 with 1,500 points (California Housing, 40 trials)."""

ROLES = (Role.STUDENT, Role.BASELINE, Role.TEACHER, Role.START)


@dataclass(frozen=True)
class Overview:
    """The counts of a plan, as `sweep plan` shows them.

    Epochs are an upper bound where some of the trials may stop early. `repeated` counts trials that
    other shards train as well, each with the epochs that lead to it.
    """

    study: str
    trials: int
    cells: int
    by_role: Mapping[str, int]
    by_dataset: Mapping[str, int]
    done: int
    todo: int
    failed: int
    may_stop_early: int
    epochs_naive: int
    epochs_planned: int
    epochs_naive_by_role: Mapping[str, int]
    epochs_planned_by_role: Mapping[str, int]
    epochs_naive_by_dataset: Mapping[str, int]
    epochs_planned_by_dataset: Mapping[str, int]
    stages: int
    todo_epochs: int
    estimate: Mapping[str, Any]
    waiting: tuple[str, ...] = ()
    shard: str | None = None
    repeated: int = 0
    repeated_epochs: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The overview as JSON types."""
        return {**self.__dict__}

    def __str__(self) -> str:
        roles = ", ".join(f"{count} {role}" for role, count in self.by_role.items())
        return (
            f"{self.study}: {self.trials} trials ({roles}), {self.done} done, {self.todo} to do; "
            f"{self.epochs_naive} epochs alone, {self.epochs_planned} planned"
        )


class Cost(NamedTuple):
    """What a network of a dataset costs.

    Attributes:
        epoch_s: seconds of an epoch of training.
        evaluation_s: seconds of the evaluation after a training, attacks included.
    """

    epoch_s: float
    evaluation_s: float


def overview(
    demand: Demand,
    store: Store | None,
    slots: int,
    costs: Mapping[tuple[str, str], Cost] | None = None,
    share: bool = True,
) -> Overview:
    """Counts what a demand asks for and what sharing saves.

    Args:
        demand: see `sweep.cells.demand`.
        store: for what earlier results cost; None for no estimate of time.
        slots: trials that run at a time, for the estimate of time.
        costs: measured just now, by dataset and network; None takes earlier results.
        share: whether equal prefixes are merged.
    """
    distinct: dict[str, Cell] = {}
    for cell in demand.chosen:
        distinct.setdefault(cell.trial_id, cell)
    whole = plan((cell.spec for cell in distinct.values()), share)
    owners = _owners(whole, distinct)
    naive_by_role: Counter[str] = Counter(dict.fromkeys(ROLES, 0))
    planned_by_role: Counter[str] = Counter(dict.fromkeys(ROLES, 0))
    naive_by_dataset: Counter[str] = Counter()
    planned_by_dataset: Counter[str] = Counter()
    for cell in distinct.values():
        naive_by_role[cell.role] += cell.spec.epochs
        naive_by_dataset[cell.dataset] += cell.spec.epochs
    for stage in whole.stages.values():
        planned_by_role[owners[stage.key].role] += stage.epochs
        planned_by_dataset[owners[stage.key].dataset] += stage.epochs
    todo = _epochs_to_do(whole, demand.todo)
    roles = Counter(cell.role for cell in distinct.values())
    if not roles[Role.START]:  # few studies have such trainings
        for counts in (naive_by_role, planned_by_role):
            del counts[Role.START]
    return Overview(
        study=demand.study.name,
        trials=len(distinct),
        cells=len(demand.chosen),
        by_role={role: roles[role] for role in ROLES if role != Role.START or roles[role]},
        by_dataset=Counter(cell.dataset for cell in distinct.values()),
        done=demand.done,
        todo=len(demand.todo),
        failed=demand.failed_before,
        may_stop_early=sum(cell.spec.recipe.early_stop.patience > 0 for cell in distinct.values()),
        epochs_naive=naive_by_role.total(),
        epochs_planned=planned_by_role.total(),
        epochs_naive_by_role=naive_by_role,
        epochs_planned_by_role=planned_by_role,
        epochs_naive_by_dataset=naive_by_dataset,
        epochs_planned_by_dataset=planned_by_dataset,
        stages=len(whole.stages),
        todo_epochs=sum(todo.values()),
        waiting=demand.waiting,
        shard=None if demand.shard is None else str(demand.shard),
        repeated=len(demand.repeated),
        repeated_epochs=plan((distinct[key].spec for key in demand.repeated), share).epochs,
        estimate=_estimate(
            demand, todo, slots, costs or costs_of_results(store), weights_sizes(store)
        ),
    )


def _owners(whole: Plan, distinct: Mapping[str, Cell]) -> dict[str, Cell]:
    """For each stage, a cell whose trial passes through it: the one that ends it, or the first."""
    owners: dict[str, Cell] = {}
    for stage in reversed(list(whole.stages.values())):
        if stage.ends_trial:
            owners[stage.key] = distinct[stage.key]
        if stage.parent is not None:
            owners[stage.parent] = owners[stage.key]
    for stage in whole.stages.values():
        if stage.ends_trial:
            owners[stage.key] = distinct[stage.key]
    return owners


def _epochs_to_do(whole: Plan, todo: Container[str]) -> dict[tuple[str, str], int]:
    """Epochs that lead to a trial that is to be done, by dataset and network."""
    epochs: dict[tuple[str, str], int] = defaultdict(int)
    needed: set[str] = set()
    for stage in reversed(list(whole.stages.values())):
        if stage.key in todo or stage.key in needed:
            epochs[_kind(stage)] += stage.epochs
            if stage.parent is not None:
                needed.add(stage.parent)
    return epochs


def _estimate(
    demand: Demand,
    todo: Mapping[tuple[str, str], int],
    slots: int,
    costs: Mapping[tuple[str, str], Cost],
    weights: Mapping[tuple[str, str], int],
) -> dict[str, Any]:
    unknown = sorted("/".join(kind) for kind in todo if kind not in costs)
    known = {kind: cost for kind, cost in sorted(costs.items()) if kind in todo}
    trials = Counter((cell.dataset, cell.model) for cell in demand.todo.values())
    known_s = sum(
        todo[kind] * cost.epoch_s + trials[kind] * cost.evaluation_s for kind, cost in known.items()
    )
    return {
        "slots": slots,
        "seconds": None if unknown or not todo else known_s / max(1, slots),
        "seconds_per_epoch": {"/".join(kind): cost.epoch_s for kind, cost in known.items()},
        "seconds_per_evaluation": {
            "/".join(kind): cost.evaluation_s for kind, cost in known.items()
        },
        "unknown": unknown,
        "records_bytes": _records_bytes(demand),
        "weights_bytes": _weights_bytes(demand, weights),
    }


def _kind(stage: Stage) -> tuple[str, str]:
    return stage.spec.data.name, stage.spec.recipe.model


def costs_of_results(store: Store | None) -> dict[tuple[str, str], Cost]:
    """What networks cost by dataset and name, from the trials a store holds."""
    if store is None:
        return {}
    rows, _ = store.trials.read(["dataset", "model", "train_s", "epochs_run", "evaluate_s"])
    train: dict[tuple[str, str], float] = defaultdict(float)
    epochs: Counter[tuple[str, str]] = Counter()
    evaluate: dict[tuple[str, str], float] = defaultdict(float)
    trials: Counter[tuple[str, str]] = Counter()
    for dataset, model, train_s, epochs_run, evaluate_s in tuples(rows):
        if train_s and epochs_run:
            kind = (dataset, model)
            train[kind] += train_s
            epochs[kind] += epochs_run
            evaluate[kind] += evaluate_s or 0.0
            trials[kind] += 1
    return {
        kind: Cost(train[kind] / epochs[kind], evaluate[kind] / trials[kind]) for kind in epochs
    }


def weights_sizes(store: Store | None) -> dict[tuple[str, str], int]:
    """Bytes of a file of trained weights by dataset and network, from those a store keeps."""
    if store is None:
        return {}
    rows, _ = store.trials.read(["trial_id", "dataset", "model"])
    kept = store.kept_weights()
    return {
        (dataset, model): kept[trial_id].size
        for trial_id, dataset, model in tuples(rows)
        if trial_id in kept
    }


def _records_bytes(demand: Demand) -> int:
    return sum(BYTES_PER_RECORD + BYTES_PER_POINT * _points(cell) for cell in demand.todo.values())


def _weights_bytes(demand: Demand, sizes: Mapping[tuple[str, str], int]) -> int | None:
    """Bytes of the weights that will be kept; None where a network's are not known yet."""
    total = 0
    for trial_id, cell in demand.todo.items():
        if demand.measures(trial_id).keep_weights:
            kind = (cell.dataset, cell.model)
            if kind not in sizes:
                return None
            total += sizes[kind]
    return total


def _points(cell: Cell) -> int:
    import data

    rows = data.DataSpec.rows(cell.spec.data)
    if cell.spec.recipe.batch_size is None or rows is None:
        return cell.spec.epochs
    steps = -(-rows[0] // cell.spec.recipe.batch_size)
    return cell.spec.epochs * max(1, steps // min(100, steps))


def calibrate(demand: Demand, steps: int = 12, rows: int = 300) -> dict[tuple[str, str], Cost]:
    """Measures a few steps and a part of the evaluation of every network, in this process.

    What a recipe watches on the validation split after an epoch is left out.

    Args:
        demand: of whose trials every distinct dataset and network is measured.
        steps: minibatches to train; a full batch trains this many epochs.
        rows: of the test split to evaluate.
    """
    import dataclasses
    import time

    from data.load import Split
    from trials.device import choose, configure
    from trials.evaluate import evaluate
    from trials.spec import EarlyStop, LrSchedule, Segment
    from trials.stage import Workshop
    from trials.train import steps_per_epoch, train

    configure()
    workshop = Workshop(choose(1.0))
    costs: dict[tuple[str, str], Cost] = {}
    for trial_id, cell in demand.todo.items():
        kind = (cell.dataset, cell.model)
        if kind in costs:
            continue
        loaded = workshop.dataset(cell.spec.data)
        size = cell.spec.recipe.batch_size
        of_epoch = len(loaded.train.y)
        if size is None:
            short, per_epoch, done = loaded, 1.0, steps
        else:
            head = slice(0, min(of_epoch, size * steps))
            part = dataclasses.replace(loaded.train, x=loaded.train.x[head], y=loaded.train.y[head])
            short = dataclasses.replace(loaded, train=part)
            done = steps_per_epoch(cell.spec.recipe, len(part.y))
            per_epoch = float(steps_per_epoch(cell.spec.recipe, of_epoch))
        epochs = steps if size is None else 1
        recipe = dataclasses.replace(
            cell.spec.recipe, lr_schedule=LrSchedule(), early_stop=EarlyStop()
        )
        spec = dataclasses.replace(cell.spec, recipe=recipe, schedule=(Segment(epochs),))
        train(spec, short, {}, device=workshop.device)  # warms up
        began = time.perf_counter()
        model = train(spec, short, {}, device=workshop.device).model
        epoch_s = (time.perf_counter() - began) / done * per_epoch
        test = loaded.test
        evaluate_s = []
        for split in (Split(test.x[:1], test.y[:1]), Split(test.x[:rows], test.y[:rows])):
            began = time.perf_counter()
            evaluate(
                model, split, task=loaded.task, inputs=loaded.inputs, low=loaded.input_low,
                high=loaded.input_high, under=demand.measures(trial_id).measures.attacks,
            )  # fmt: skip
            evaluate_s.append(time.perf_counter() - began)
        # Noise on weights is drawn once, for however many rows.
        once_s = min(evaluate_s)
        rest_s = (evaluate_s[1] - once_s) * len(test.y) / len(test.y[:rows])
        costs[kind] = Cost(epoch_s, once_s + rest_s)
    return costs
