"""Asks workers about networks whose weights are kept."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from data import DataSpec
from sweep.errors import DamagedError
from sweep.events import Event, Events, Unheard, What
from sweep.execution.base import Executor, Finished, Handle, Inputs, Outcome
from sweep.progress import Progress
from sweep.store import Store
from trials.task import AttributeTask, EvaluateTask, LoadTask

TELL_S = 2.0


def answers(
    workers: Executor,
    tasks: Sequence[EvaluateTask | AttributeTask],
    store: Store,
    failures: list[str],
    progress: Progress,
    done: str,
    events: Events | None = None,
) -> Iterator[Outcome]:
    """What workers say of networks, as it comes; how far they are is told every few seconds.

    Args:
        workers: who is asked.
        tasks: what, each of another network.
        store: where the weights are kept; held for writing.
        failures: takes a line for each task without an answer.
        progress: is told.
        done: what has then been done, such as "evaluated".
        events: is told of each answer, once whoever asked has taken it, and of each failure.
    """
    events = events or Unheard()
    told = time.monotonic()
    for position, finished in enumerate(_each(workers, tasks, store, failures, events), start=1):
        if finished.failure is not None:
            failures.append(f"{finished.task_id}: {finished.failure.message}")
            events.tell(_ended(finished))
        elif finished.outcome is not None:
            yield finished.outcome
            events.tell(_ended(finished))
        if position == len(tasks) or time.monotonic() - told >= TELL_S:
            progress.say(f"{position}/{len(tasks)} {done}")
            told = time.monotonic()


def _each(
    workers: Executor,
    tasks: Sequence[EvaluateTask | AttributeTask],
    store: Store,
    failures: list[str],
    events: Events,
) -> Iterator[Finished]:
    """Keeps the workers busy and yields what ends; damaged weights are set aside and noted.

    A dataset is loaded once, for all workers: a node needs none of its own.
    """
    by_data: dict[DataSpec, list[EvaluateTask | AttributeTask]] = defaultdict(list)
    for task in tasks:
        by_data[task.data].append(task)
    for spec, group in by_data.items():
        loaded = _loaded(workers, spec)
        if loaded.failure is None:
            yield from _of_one_dataset(workers, group, loaded.product, store, failures, events)
        else:
            for task in group:
                yield replace(loaded, task_id=task.trial_id)


def _loaded(workers: Executor, spec: DataSpec) -> Finished:
    """The end of loading a dataset, with a handle on it."""
    workers.submit(f"load {spec.name}", LoadTask(spec), Inputs())
    ended: list[Finished] = []
    while not ended:
        ended = workers.wait(timeout_s=1.0)
    if ended[0].failure is not None:
        return ended[0]
    return replace(ended[0], product=workers.keep(ended[0].product))


def _of_one_dataset(
    workers: Executor,
    tasks: Sequence[EvaluateTask | AttributeTask],
    dataset: Handle,
    store: Store,
    failures: list[str],
    events: Events,
) -> Iterator[Finished]:
    queue = list(reversed(tasks))
    running = 0
    while queue or running:
        while queue and workers.free > 0:
            task = queue.pop()
            try:
                content = store.read_weights(task.trial_id)
            except DamagedError as error:
                store.set_aside(store.layout.weights(task.trial_id))
                failures.append(str(error))
                events.tell(_not_asked(task.trial_id, failures[-1]))
                continue
            if content is None:
                failures.append(f"{task.trial_id}: its weights are gone")
                events.tell(_not_asked(task.trial_id, failures[-1]))
                continue
            inputs = Inputs(start=workers.put(content), dataset=dataset)
            workers.submit(task.trial_id, task, inputs)
            running += 1
        if not running:
            time.sleep(0.05)  # there is no worker: nothing is waited for
        for finished in workers.wait(timeout_s=1.0):
            running -= 1
            yield finished


def _not_asked(trial_id: str, why: str) -> Event:
    return Event(What.EVALUATION_FAILED, why, trial_id=trial_id)


def _ended(finished: Finished) -> Event:
    failure = finished.failure
    return Event(
        What.EVALUATION_FAILED if failure else What.TRIAL_EVALUATED,
        failure.message if failure else "evaluated",
        trial_id=finished.task_id,
        node=finished.node,
        worker=finished.worker,
        device=finished.device,
        kind=failure.kind if failure else None,
        duration_s=finished.elapsed_s,
    )
