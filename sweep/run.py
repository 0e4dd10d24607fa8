"""Runs what is missing of a study: study minus store, in the order of the plan.

The run owns the store and an executor. It gives out stages whose parent has ended and whose
teachers are chosen, deepest first so that few snapshots wait; it publishes results in small
batches. It keeps no state of its own: whatever ends it, the next run starts from the store.
"""

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sweep.binding import Moved
from sweep.cells import Demand, Wanted
from sweep.classes import Classes
from sweep.errors import StoreError
from sweep.events import Event, Events, Logged, What
from sweep.execution.base import Executor, Failure, Finished, ProductLostError
from sweep.expand import Cell, Role
from sweep.interrupts import Interrupt
from sweep.journal import Journal
from sweep.pace import Pace, Settled, work_of
from sweep.plan import Plan, Stage, plan
from sweep.policy import Policy, SameFailures, WorkKind, timed_out
from sweep.preparing import Preparing
from sweep.progress import Progress, RunState, Silent
from sweep.ready import Ready
from sweep.records import FailureKind, trial_row
from sweep.selection import Candidate, choose_teacher
from sweep.snapshots import DURABLE_EVERY_S, Snapshots
from sweep.store import Store
from sweep.summary import RunSummary, run_row
from trials.engine import LaneGroup, lane_group
from trials.spec import TeacherRule
from trials.task import ChosenTeacher, Measures, StageOutcome, StageTask, TrialResult

SHOW_S, LIVE_S = 0.2, 1.0


def run(
    demand: Demand,
    store: Store,
    executor: Executor,
    *,
    progress: Progress | None = None,
    events: Events | None = None,
    interrupt: Interrupt | None = None,
    policy: Policy | None = None,
    share: bool = True,
    snapshot_bytes: int | None = None,
    durable_every_s: float = DURABLE_EVERY_S,
) -> RunSummary:
    """Trains what a demand still lacks and publishes it.

    Args:
        demand: what is wanted, and what of it is already there or has failed.
        store: held for writing by the caller.
        executor: where to train; stopped by the caller.
        progress: shows what happens.
        events: told what happens to each trial, once that is on disk; None logs it.
        interrupt: looked at between stages.
        policy: what to do about failures.
        share: False trains every trial alone, for comparison.
        snapshot_bytes: room for snapshots that wait; None takes what the executor has.
        durable_every_s: seconds of training after which a snapshot is put on disk, so that no more
            than that is lost with a node.
    """
    return _Run(
        demand, store, executor, progress or Silent(), events or Logged(),
        interrupt or Interrupt(), policy or Policy(), share, snapshot_bytes, durable_every_s,
    ).go()  # fmt: skip


class _Run:
    def __init__(
        self,
        demand: Demand,
        store: Store,
        executor: Executor,
        progress: Progress,
        events: Events,
        interrupt: Interrupt,
        policy: Policy,
        share: bool,
        snapshot_bytes: int | None,
        durable_every_s: float,
    ) -> None:
        self._demand, self._store, self._executor = demand, store, executor
        self._progress, self._interrupt = progress, interrupt
        self._journal = Journal(store, events, progress, interrupt)
        self._cells: Mapping[str, Cell] = demand.todo
        self._kept = demand.kept if share else {}
        self._plan: Plan = plan(
            [*(cell.spec for cell in self._cells.values()), *self._kept.values()], share
        )
        self._candidates: dict[str, Candidate] = dict(demand.candidates)
        self._rules = {rule.key: rule for c in self._cells.values() for rule in c.spec.rules}
        self._policy, self._same = policy, SameFailures(policy.same_failure_limit)
        self._classes = Classes(
            self._plan, demand, store, executor, self._progress, self._kept, self._left_of
        )
        self._preparing = Preparing(
            executor, timeout_s=policy.stage_timeout_s, class_of=self._classes.of
        )
        self._chosen: dict[str, str] = {}
        self._unresolved: dict[str, set[str]] = {}
        self._rules_of: dict[str, list[str]] = defaultdict(list)
        self._waiting: dict[object, list[str]] = defaultdict(list)
        self._ready: dict[str | None, Ready] = defaultdict(Ready)
        self._later: list[tuple[float, str]] = []
        self._running: dict[str, float] = {}
        self._begun_at: dict[str, int] = {}
        self._earlier_s: dict[str, float] = defaultdict(float)
        self._path_s: dict[str, float] = {}
        self._failed_tries: dict[str, int] = defaultdict(int)
        self._settled = Settled(self._plan.stages, self._not_needed())
        self._share, self._durable_every_s = share, durable_every_s
        self._snapshots = Snapshots(
            self._plan, store, executor, self._kept, self._settled, snapshot_bytes, durable_every_s
        )
        self._epochs_total = sum(
            stage.epochs for key, stage in self._plan.stages.items() if key not in self._settled
        )
        self._published: set[str] = set()
        self._counts = dict.fromkeys(("done", "diverged", "failed", "blocked", "held_back"), 0)
        self._failures: list[str] = []
        self._failed_stages = 0
        self._stopped: str | None = None
        self._epochs_done = self._epochs_alone = 0
        self._slots = executor.slots
        self._busy_s = 0.0
        self._pace = Pace()
        self._began = time.monotonic()
        self._shown = self._told = self._began

    def go(self) -> RunSummary:
        """Runs to the end, or until asked to stop."""
        try:
            self._interrupt.on_ask(self._executor.interrupt)
            self._journal.keep(lambda: self._store.remove_checkpoints(self._demand.superseded))
            self._open_rules()
            for key, stage in reversed(list(self._plan.stages.items())):
                if stage.parent is None or stage.parent in self._kept:
                    self._release(key)
            self._give_out()
            while self._unfinished and not self._ending:
                self._step()
            if self._ending:
                # Before anything that a cluster in its death could hold up.
                self._journal.flush(force=True)
                for finished in self._executor.wait(timeout_s=0):
                    self._collect(finished)
                now = time.monotonic()
                self._busy_s += sum(now - began for began in self._running.values())
        finally:  # whatever ends it, what is finished is kept
            self._journal.flush(force=True)
            summary = self._summary()
            row = run_row(self._demand.study.name, self._share, summary)
            self._journal.keep(lambda: self._store.runs.publish([row]))
            self._show(force=True)
            self._progress.close()
        return summary

    @property
    def _unfinished(self) -> bool:
        """Whether there is something to do or to wait for; a cluster may have no worker now."""
        waiting = self._later or self._preparing.waiting or any(self._ready.values())
        return bool(self._running or waiting)

    @property
    def _ending(self) -> bool:
        """Whether nothing more is to be started."""
        return self._interrupt.asked or self._stopped is not None

    def _summary(self) -> RunSummary:
        return RunSummary(
            total=len(self._cells),
            already_done=self._demand.done - self._demand.diverged_before,
            not_done_before=self._demand.not_done_before,
            interrupted=self._interrupt.asked,
            epochs=self._epochs_done,
            epochs_alone=self._epochs_alone,
            elapsed_s=time.monotonic() - self._began,
            busy_s=self._busy_s,
            slots=self._slots,
            peak_snapshot_bytes=self._snapshots.peak_bytes,
            failures=tuple(self._failures),
            stopped=self._stopped,
            **self._counts,
        )

    def _step(self) -> None:
        if not self._running:
            time.sleep(0.05)  # everything that is left pauses
        for finished in self._executor.wait(timeout_s=0.25):
            self._collect(finished)
        for line in self._executor.news():
            self._progress.say(line)
        for node in self._executor.take_lost_nodes():
            self._journal.tell(Event(What.NODE_LOST, f"node {node} is gone", node=node))
        self._journal.flush()
        self._give_out()
        self._show()

    def _not_needed(self) -> set[str]:
        """Stages that lead to a kept state and to nothing else that is to be done."""
        needed: set[str] = set()
        for trial_id in self._cells:
            key: str | None = trial_id
            while key is not None and key not in needed and key not in self._kept:
                needed.add(key)
                key = self._plan.stages[key].parent
        return set(self._plan.stages) - needed

    # Teachers

    def _open_rules(self) -> None:
        """Finds out which teacher rules wait for which trials."""
        unavailable: dict[str, list[str]] = {}
        for rule in self._rules.values():
            missing = {trial_id for trial_id in rule.pool if trial_id in self._cells}
            lost = [
                trial_id
                for trial_id in rule.pool
                if trial_id not in self._cells and trial_id not in self._candidates
            ]
            self._unresolved[rule.key] = missing
            for trial_id in missing:
                self._rules_of[trial_id].append(rule.key)
            if lost:
                unavailable[rule.key] = lost
        # Only now: what is blocked blocks what waits for it.
        for rule_key, lost in unavailable.items():
            self._block(rule_key, f"{self._what(rule_key)} failed ({', '.join(lost[:3])})")
        for rule in self._rules.values():
            if not self._unresolved[rule.key] and rule.key not in self._chosen:
                self._resolve(rule)

    def _what(self, rule_key: str) -> str:
        """What a rule chooses from, in words."""
        pool = self._rules[rule_key].pool
        roles = {self._demand.cell(t).role for t in pool if t in self._demand.by_id}
        return "what it begins with" if roles == {Role.START} else "its teachers"

    def _resolve(self, rule: TeacherRule) -> None:
        """Chooses a teacher and releases the stages that wait for it."""
        chosen = choose_teacher(rule, self._candidates)
        if chosen is None:
            self._block(rule.key, self._all_diverged(rule))
            return
        if chosen.trial_id not in self._preparing.teachers:
            cell = self._demand.cell(chosen.trial_id)
            self._preparing.teachers[chosen.trial_id] = ChosenTeacher(
                trial_id=chosen.trial_id,
                data=cell.spec.data,
                model=cell.spec.recipe.model,
                weights=self._weights(chosen.trial_id),
            )
        self._chosen[rule.key] = chosen.trial_id
        what = f"{_named(self._demand.cell(chosen.trial_id))} was chosen from {len(rule.pool)}"
        self._journal.tell(Event(What.TEACHER_CHOSEN, what, trial_id=chosen.trial_id))
        self._release_all(rule.key)

    def _all_diverged(self, rule: TeacherRule) -> str:
        if len(rule.pool) > 1:
            return "every teacher of the pool diverged"
        return f"{_named(self._demand.cell(rule.pool[0]))} diverged"

    def _weights(self, trial_id: str) -> bytes:
        content = self._store.read_weights(trial_id)
        if content is None:
            raise StoreError(f"the weights of teacher {trial_id} are gone from {self._store}")
        return content

    def _block(self, rule_key: str, why: str) -> None:
        """Gives up the stages that need a teacher which cannot be had."""
        self._chosen[rule_key] = ""
        lost: list[str] = []
        for stage in list(self._plan.stages.values()):
            on_path = rule_key in (rule.key for rule in stage.spec.rules)
            if on_path and stage.key not in self._settled:
                blocked = [s for s in self._plan.below(stage.key) if s.key not in self._settled]
                self._settled.update(s.key for s in blocked)
                self._snapshots.settle(stage.key, succeeded=False)
                lost += [s.key for s in blocked if s.key in self._cells]
        self._counts["blocked"] += len(lost)
        if lost:
            self._failures.append(f"{len(lost)} trials blocked: {why}")
        self._journal.tell(
            *(Event(What.TRIAL_BLOCKED, why, trial_id=trial_id) for trial_id in lost)
        )
        for trial_id in lost:  # others may begin with its weights
            self._teacher_is_gone(trial_id, "was blocked")

    # Numerics classes

    def _follow_classes(self, now: float) -> Sequence[str | None]:
        """The classes there are, once every stage is in one of them; None: one for all."""
        found = self._classes.follow(now)
        for one in found.moved:
            self._start_again(one)
        if found.changed:
            self._sort_ready()
        return found.classes

    def _left_of(self, stage: Stage) -> float:
        return 0.0 if stage.key in self._settled else self._pace.expected(stage)

    def _start_again(self, moved: Moved) -> None:
        """What had begun in a class that is gone begins anew in another, so that its trees are in one."""
        keys = self._classes.stages(moved)
        self._journal.keep(lambda: self._snapshots.forget(keys))
        self._preparing.forget_outputs(keys)
        for key in keys:
            self._earlier_s.pop(key, None)
        left = sum(key in self._cells and key not in self._settled for key in keys)
        self._progress.say(
            f"{left} trials that belong together were begun on a class that is gone ({moved.before}): "
            f"they start again on {moved.after}"
        )

    def _sort_ready(self) -> None:
        """Puts what is ready where its class is now."""
        entries = [entry for ready in self._ready.values() for entry in ready.drain()]
        for key, _ in entries:
            self._push(key)

    def _has_nothing(self, numerics: str) -> bool:
        """Whether a class has workers that wait, while others have more to do than they can."""
        waits = not self._ready[numerics] and self._executor.free_in(numerics) > 0
        return waits and any(self._ready.values())

    # Stages

    def _release(self, key: str) -> None:
        """Makes a stage ready, or has it wait for a teacher, its outputs, or a dataset."""
        if key in self._settled or key in self._running:
            return
        stage = self._plan.stages[key]
        for rule in stage.spec.rules:  # its record names those of the whole path
            if rule.key not in self._chosen:
                self._waiting[rule.key].append(key)
                return
        need = self._preparing.first_missing(stage, self._chosen)
        if need is None:
            self._push(key)
        elif need in self._preparing.failed:
            self._lack(key, self._preparing.failed[need])
        else:
            self._waiting[need].append(key)

    def _release_all(self, met: object) -> None:
        """Goes on with the stages that waited for something."""
        for key in self._waiting.pop(met, []):
            self._release(key)

    def _lack(self, key: str, why: Finished) -> None:
        """Fails a stage because what it needs could not be made."""
        if why.failure is not None and key not in self._settled:
            self._fail(self._plan.stages[key], why, why.failure, final=True)

    def _give_out(self) -> None:
        now = time.monotonic()
        for due, key in self._later:
            if due <= now:
                self._release_again(key)
        self._later = [(due, key) for due, key in self._later if due > now]
        for numerics in self._follow_classes(now):
            self._give_out_in(numerics)
        if self._classes.balance(now, self._has_nothing):
            self._sort_ready()

    def _give_out_in(self, numerics: str | None) -> None:
        """Gives out what can be done in a class; None: where there is one for all."""
        while not self._ending:
            free = self._executor.free_in(numerics) > 0
            joinable = self._executor.joinable_in(numerics)
            need = self._preparing.next_for(numerics) if free or joinable else None
            if need is not None:
                self._preparing.submit(need, numerics)
                self._running[need.task_id] = time.monotonic()
                if need.teacher is not None:
                    self._classes.begin(self._preparing.asker(need))
                continue
            ready = self._next_ready(numerics, free, joinable)
            if ready is None:
                return
            if ready in self._settled or ready in self._running:
                continue
            stage = self._plan.stages[ready]
            time_left_s = self._time_left_s(stage)
            if time_left_s is not None and time_left_s <= 0:
                self._fail_unbegun(stage)
            elif self._preparing.first_missing(stage, self._chosen) is not None:
                self._release(ready)  # what its teachers said was forgotten since: it waits again
            elif self._snapshots.can_begin(ready):
                self._submit(stage, time_left_s, numerics)
            else:
                self._train_again(stage.parent)

    def _push(self, key: str) -> None:
        """Makes a stage ready, in its class."""
        self._ready[self._classes.of(key)].push(key, key in self._plan.children)

    def _next_ready(
        self, numerics: str | None, free: bool, joinable: frozenset[LaneGroup]
    ) -> str | None:
        """The next stage for a free worker, else for one that has a lane for it."""
        ready = self._ready[numerics]
        if free:
            return ready.pop(self._snapshots.has_room, idle=not self._running)
        if not joinable:
            return None
        return ready.pop_fitting(
            lambda key: lane_group(self._plan.stages[key].spec) in joinable,
            self._snapshots.has_room,
        )

    def _train_again(self, key: str | None) -> None:
        """A snapshot is lost: the stage that left it runs again, and releases those that need it."""
        if key is not None:
            self._earlier_s.pop(key, None)
            self._settled.discard(key)
            self._push(key)

    def _fail_unbegun(self, stage: Stage) -> None:
        """The stages before it have used up its trials' time."""
        now = datetime.now(UTC)
        failure = timed_out(self._path_s.get(stage.parent or "", 0.0))
        ended = Finished(stage.key, None, None, failure, "none", "none", now, now)
        self._fail(stage, ended, failure)

    def _submit(self, stage: Stage, time_left_s: float | None, numerics: str | None) -> None:
        start, epoch = self._snapshots.begin(stage.key)
        inputs = self._preparing.inputs(stage, self._chosen, start)
        task = self._task(stage, epoch, time_left_s)
        self._executor.submit(stage.key, task, inputs, time_left_s, numerics)
        self._classes.begin(stage.key)
        self._begun_at[stage.key] = epoch
        self._running[stage.key] = time.monotonic()

    def _time_left_s(self, stage: Stage) -> float | None:
        """Seconds that a stage may still take; None for no limit."""
        before_s = self._path_s.get(stage.parent or "", 0.0)
        return self._policy.time_left_s(self._earlier_s.get(stage.key, 0.0), before_s)

    def _release_again(self, key: str) -> None:
        """Goes on with a task that was to be tried again."""
        if self._preparing.is_ours(key):
            self._preparing.again(key)
        else:
            self._push(key)

    def _task(self, stage: Stage, start_epoch: int, time_left_s: float | None) -> StageTask:
        wanted = self._wanted(stage)
        return StageTask(
            spec=stage.spec,
            start_epoch=start_epoch,
            ends_trial=wanted is not None,
            keep_weights=self._weights_are_wanted(stage),
            hand_over=stage.key in self._plan.children or bool(wanted and wanted.keep_snapshot),
            measures=wanted.measures if wanted else self._on_the_way(stage),
            teachers={rule.key: self._chosen[rule.key] for rule in stage.rules},
            path_teachers={rule.key: self._chosen[rule.key] for rule in stage.spec.rules},
            pause_after_s=min(
                self._durable_every_s, math.inf if time_left_s is None else time_left_s
            ),
        )

    def _on_the_way(self, stage: Stage) -> Measures:
        """What to measure in a stage that no trial ends with, unless all of them do early."""
        below = next(s.key for s in self._plan.below(stage.key) if s.key in self._cells)
        return self._demand.measures(below).measures

    def _weights_are_wanted(self, stage: Stage) -> bool:
        """Whether a trial that ends with the stage, or may end early in it, keeps its weights."""
        early = stage.spec.recipe.early_stop.patience > 0
        ending = self._plan.below(stage.key) if early else [stage]
        return any(wanted.keep_weights for s in ending if (wanted := self._wanted(s)) is not None)

    def _wanted(self, stage: Stage) -> Wanted | None:
        return self._demand.measures(stage.key) if stage.key in self._cells else None

    def _collect(self, finished: Finished) -> None:
        if self._running.pop(finished.task_id, None) is None:
            return
        elapsed = finished.elapsed_s
        self._busy_s += finished.busy_s
        if self._preparing.is_ours(finished.task_id):
            self._prepared(finished)
            return
        stage = self._plan.stages[finished.task_id]
        self._snapshots.end(stage.key)
        if finished.failure is not None:
            self._fail(stage, finished, finished.failure)
        elif isinstance(finished.outcome, StageOutcome):
            start = self._begun_at.pop(stage.key)
            reached = finished.outcome.epoch  # below the start where a kept training had stopped
            self._epochs_done += max(0, reached - start)
            if reached > start:
                piece = replace(stage, start=start, spec=stage.spec.shortened(reached))
                self._pace.learn(piece, elapsed)
            try:
                self._succeed(stage, finished, finished.outcome)
            except ProductLostError as error:
                failure = _gone(error)
                self._fail(stage, replace(finished, outcome=None, product=None), failure)

    def _prepared(self, finished: Finished) -> None:
        """A dataset or a teacher's outputs are there, or cannot be had."""
        if finished.failure is not None and self._try_again(finished, finished.failure):
            return None
        try:
            need = self._preparing.collect(finished)
        except ProductLostError as error:
            return self._prepared(replace(finished, product=None, failure=_gone(error)))
        if finished.failure is not None:
            self._progress.say(f"{need}: {finished.failure.headline}")
        return self._release_all(need)

    def _succeed(self, stage: Stage, finished: Finished, outcome: StageOutcome) -> None:
        if outcome.paused:
            self._earlier_s[stage.key] += finished.elapsed_s
            time_left_s = self._time_left_s(stage)
            if time_left_s is not None and time_left_s <= 0:
                self._fail(stage, finished, timed_out(self._earlier_s[stage.key]))
                return
            self._journal.keep(lambda: self._snapshots.pause(stage.key, finished.product, outcome))
            self._push(stage.key)
            return
        content = self._content_to_keep(stage, finished, outcome)
        self._same.succeeded(WorkKind.of(stage))
        self._settled.add(stage.key)
        if outcome.ended_early and outcome.result is not None:
            # Everything that goes on from here would have ended the same way.
            after = [s for s in self._plan.below(stage.key) if s.key not in self._settled]
            trained = max(0, outcome.epoch - stage.start)
            self._epochs_total -= stage.epochs - trained + sum(s.epochs for s in after)
            self._settled.update(s.key for s in after)
            for ended in (stage, *after):
                self._end_trial(ended, finished, outcome, content)
            self._settle(stage.key)
            return
        self._end_trial(stage, finished, outcome, content)
        children = self._plan.children.get(stage.key, ())
        if children:
            self._path_s[stage.key] = outcome.train_s
            self._journal.keep(lambda: self._snapshots.leave(stage.key, finished.product, outcome))
            # The longest subtree is pushed first and so runs last: forks free their snapshot.
            for child in sorted(children, key=lambda k: -self._plan.stages[k].trials):
                self._release(child)
        self._settle(stage.key)

    def _settle(self, key: str) -> None:
        """A stage is done; a record is durable before the checkpoint that could make it again goes."""
        if self._snapshots.has_files(key):
            self._journal.flush(force=True)
        self._snapshots.settle(key)

    def _content_to_keep(
        self, stage: Stage, finished: Finished, outcome: StageOutcome
    ) -> bytes | None:
        """The snapshot of a stage, where a trial that ends with it keeps one.

        Raises:
            ProductLostError: where it is gone; nothing is changed by then.
        """
        if outcome.result is None or outcome.diverged_epoch is not None:
            return None
        ending = self._plan.below(stage.key) if outcome.ended_early else [stage]
        if any(wanted.keep_snapshot for s in ending if (wanted := self._wanted(s)) is not None):
            return self._executor.get(finished.product)
        return None

    def _end_trial(
        self, stage: Stage, finished: Finished, outcome: StageOutcome, content: bytes | None
    ) -> None:
        """Keeps and publishes what is wanted of the trial that ends with a stage, if one does."""
        wanted = self._wanted(stage)
        if outcome.result is None or wanted is None:
            return
        if wanted.keep_weights and outcome.weights is not None:
            weights = outcome.weights
            self._journal.keep(lambda: self._store.write_weights(stage.key, weights))
        if wanted.keep_snapshot and content is not None:
            self._journal.keep(lambda: self._store.write_snapshot(stage.key, content))
        self._publish(stage.key, outcome.result, finished)

    def _publish(self, trial_id: str, result: TrialResult, finished: Finished) -> None:
        if trial_id in self._published:
            return  # trained again for its snapshot, which was lost
        self._published.add(trial_id)
        cell = self._cells[trial_id]
        row = trial_row(cell, result)
        self._journal.trial(row)
        self._epochs_alone += result.epochs_run
        diverged = result.status == "diverged"
        self._counts["diverged" if diverged else "done"] += 1
        failure = None
        if diverged:
            where = f"epoch {result.diverged_epoch}" if result.diverged_epoch is not None else "end"
            failure = Failure(FailureKind.DIVERGED, f"the loss is not finite ({where})", "")
            self._failures.append(f"{describe(cell)}: diverged ({where})")
        self._journal.attempt(trial_id, finished, failure)
        if trial_id in self._demand.teacher_ids:
            self._candidates[trial_id] = Candidate.of(row)
        for rule_key in self._rules_of.get(trial_id, ()):
            waiting = self._unresolved[rule_key]
            waiting.discard(trial_id)
            if not waiting and rule_key not in self._chosen:
                self._journal.flush(force=True)  # a teacher is durable before anyone learns from it
                self._resolve(self._rules[rule_key])

    def _try_again(self, finished: Finished, failure: Failure) -> bool:
        """Has a task done again later, if what went wrong may pass."""
        if finished.relieved:
            self._progress.say(
                f"{finished.device}: its memory was too small for what ran there; "
                f"{self._executor.slots} trials at a time from now on"
            )
        elif not finished.innocent:
            self._failed_tries[finished.task_id] += 1
        tries = self._failed_tries[finished.task_id]
        spared = finished.relieved or finished.innocent
        if not spared and tries > self._policy.retries.get(failure.kind, 0):
            return False
        self._progress.say(f"{failure.kind}: {failure.headline}; trying again")
        pause_s = 0.0 if spared else self._policy.pause_s.get(failure.kind, 0.0) * tries
        self._later.append((time.monotonic() + pause_s, finished.task_id))
        return True

    def _fail(
        self, stage: Stage, finished: Finished, failure: Failure, final: bool = False
    ) -> None:
        below = [s for s in self._plan.below(stage.key) if s.key not in self._settled]
        lost = [s for s in below if s.key in self._cells and s.key not in self._published]
        again = not final and self._try_again(finished, failure)
        for s in lost:
            self._journal.attempt(s.key, finished, failure, again)
        if again:
            if finished.start_lost:
                self._snapshots.lose_start(stage.key)  # it went with its node
            return
        self._settled.update(s.key for s in below)
        self._counts["failed"] += len(lost)
        about = describe(self._cells[lost[0].key]) if lost else stage.key
        more = f" (and {len(lost) - 1} trials that go on from there)" if len(lost) > 1 else ""
        self._failures.append(f"{about}{more}: {failure.kind}: {failure.headline}")
        self._snapshots.settle(stage.key, succeeded=False)
        for s in lost:
            self._teacher_is_gone(s.key, "failed")
        self._failed_stages += 1
        if self._same.failed(WorkKind.of(stage), failure):
            self._hold_back(WorkKind.of(stage), failure)
        if self._failed_stages == self._policy.max_failures:
            self._stopped = f"{self._failed_stages} failures, as many as were allowed"

    def _teacher_is_gone(self, trial_id: str, how: str) -> None:
        """Gives up what needs a trial as a teacher, if anything does."""
        for rule_key in self._rules_of.get(trial_id, ()):
            if rule_key not in self._chosen:
                self._block(rule_key, f"{_named(self._cells[trial_id])} {how}")

    def _hold_back(self, kind: WorkKind, failure: Failure) -> None:
        """Leaves the rest of a kind to the next run: it would fail in the same way."""
        held: list[str] = []
        for stage in self._plan.stages.values():
            going = stage.key in self._settled or stage.key in self._running
            if going or WorkKind.of(stage) != kind:
                continue
            below = [s.key for s in self._plan.below(stage.key) if s.key not in self._settled]
            self._settled.update(below)
            self._snapshots.settle(stage.key, succeeded=False)
            held += [key for key in below if key in self._cells]
        if not held:
            return
        self._counts["held_back"] += len(held)
        why = (
            f"{kind}: the first {self._policy.same_failure_limit} trainings all failed with "
            f"{failure.kind}: {failure.headline}; {len(held)} trials that would do the same are left alone"
        )
        self._failures.insert(0, why)
        self._progress.say(why)
        self._journal.tell(*(Event(What.TRIAL_HELD_BACK, why, trial_id=key) for key in held))
        for key in held:
            self._teacher_is_gone(key, "was left alone")

    # Progress

    def _show(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._shown < SHOW_S:
            return
        self._shown = now
        elapsed = now - self._began
        ended = self._counts["done"] + self._counts["diverged"] + self._counts["failed"]
        state = RunState(
            total=len(self._cells),
            done=self._counts["done"],
            failed=self._counts["failed"] + self._counts["diverged"],
            blocked=self._counts["blocked"] + self._counts["held_back"],
            running=tuple(self._doing(key) for key in self._running),
            epochs_done=self._epochs_done,
            epochs_total=self._epochs_total,
            elapsed_s=elapsed,
            eta_s=self._eta_s(now) if force or now - self._told >= LIVE_S else self._pace.last_s,
            trials_per_minute=60 * ended / elapsed if elapsed > 0 else 0.0,
            last_failure=self._failures[-1] if self._failures else None,
            devices=self._executor.devices,
        )
        self._progress.show(state)
        if force or now - self._told >= LIVE_S:
            self._told = now
            live = {"study": self._demand.study.name, **state.as_dict()}
            live["running_trials"] = self._running_trials()
            self._store.write_live({**live, "at": datetime.now(UTC).isoformat()})

    def _eta_s(self, now: float) -> float | None:
        spent = [
            (work_of(self._plan.stages[key]), now - began + self._earlier_s.get(key, 0.0))
            for key, began in self._running.items()
            if key in self._plan.stages and key not in self._settled
        ]
        at_a_time = max(self._executor.slots, len(spent))  # more, where some are side by side
        return self._pace.remaining_s(self._settled.left, spent, at_a_time)

    def _running_trials(self) -> list[str]:
        return [key for key in self._running if key in self._cells]

    def _doing(self, key: str) -> str:
        if self._preparing.is_ours(key):
            return key
        stage = self._plan.stages[key]
        cell = self._cells.get(key) or next(
            self._cells[s.key] for s in self._plan.below(key) if s.key in self._cells
        )
        return f"{describe(cell)}, epochs {stage.start}-{stage.stop}"


def _gone(error: ProductLostError) -> Failure:
    """What ended well, and what it made is gone: as if its worker had been lost."""
    return Failure(FailureKind.WORKER_LOST, f"what it made is gone: {error}", "")


def _named(cell: Cell) -> str:
    """A trial that others need, in a few words."""
    if cell.role is Role.START:
        return f"what students begin with ({describe(cell)})"
    return f"teacher {describe(cell)}"


def describe(cell: Cell) -> str:
    """A cell in a few words."""
    words = [cell.dataset, str(cell.role)]
    if cell.role == "student":
        words.append(
            f"teacher {cell.teacher} alpha {cell.alpha:g} switch {cell.switch_epoch}"
        )  # fmt: skip
    else:
        words.append(cell.model)
    return " ".join([*words, f"seed {cell.seed}"])
