"""What the API answers, as JSON. A number that is not known, or not finite, is null.

`trials` are distinct trainings; `cells` are what was asked for, of which several may be one trial. A
configuration is named by `key` everywhere.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["done", "failed", "blocked", "missing", "running"]
Source = Literal["builtin", "uploaded", "results", "imported"]


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(ser_json_inf_nan="null")


class Counts(Answer):
    """Trials or cells by status."""

    total: int
    done: int
    failed: int
    blocked: int
    missing: int
    running: int


class Live(Answer):
    """What the active run says; see `sweep.progress.RunState`. More may be said."""

    model_config = ConfigDict(extra="allow", ser_json_inf_nan="null")

    study: str | None = None
    total: int | None = None
    done: int | None = None
    failed: int | None = None
    blocked: int | None = None
    running: list[str] = Field(default_factory=list)
    running_trials: list[str] = Field(default_factory=list)
    epochs_done: int | None = None
    epochs_total: int | None = None
    elapsed_s: float | None = None
    eta_s: float | None = None
    trials_per_minute: float | None = None
    last_failure: str | None = None
    devices: list[dict[str, Any]] = Field(default_factory=list)
    at: str | None = None


class Session(Answer):
    """Who asks, and what there is to ask."""

    logged_in: bool
    token_required: bool
    version: str
    results: str
    can_launch: bool


class JobState(Answer):
    """A run, or the making of a report, that this server started."""

    id: str
    action: Literal["run", "retry", "report"]
    study: str
    status: Literal["running", "stopping", "done", "failed", "stopped", "lost"]
    exit_status: int | None
    started_at: datetime
    ended_at: datetime | None
    command: str
    log_bytes: int


class Jobs(Answer):
    """Jobs, the latest first."""

    jobs: list[JobState]


class LogPart(Answer):
    """A part of what a job printed.

    `next_offset` is where the next part begins; `begins_at` is the first byte that is still kept.
    """

    text: str
    offset: int
    next_offset: int
    begins_at: int
    ended: bool


class StudyLine(Answer):
    """A study in the list."""

    name: str
    title: str
    question: str
    source: Source
    has_results: bool
    cells: int | None
    counts: Counts | None
    running: bool
    eta_s: float | None
    trials_per_minute: float | None


class Studies(Answer):
    """All studies: built in, uploaded, and those with results."""

    version: int
    studies: list[StudyLine]


class ReportState(Answer):
    """The report of a study."""

    exists: bool
    made_at: datetime | None
    bytes: int | None
    url: str
    job: JobState | None


class StudyState(Answer):
    """What a page polls: small, and all that changes.

    `evaluated` counts what was measured after trainings, of all studies: with more of it there may be
    more to compare cells by.
    """

    study: str
    version: int
    counts: Counts | None
    cells: Counts | None
    failed_attempts: dict[str, int]
    evaluated: int
    active: bool
    live: Live | None
    job: JobState | None
    report: ReportState
    damaged: list[str]


class Measure(Answer):
    """What cells can be compared by, beside the headline metric: that under an attack, on test.

    `measure` is what a request calls it (`fgsm 0.05`), `title` what people do (FGSM 0.05).
    """

    measure: str
    title: str


class StudyDetail(Answer):
    """A study, with all that does not change while it runs.

    `measures` are the attacks under which finished trials were measured; `overview` is what
    `sweep plan --json` gives; null until it was asked for (POST /api/plan).
    """

    name: str
    title: str
    question: str
    source: Source
    has_results: bool
    can_launch: bool
    why_not: str | None
    imported: str | None
    text: str
    text_format: Literal["toml", "json"]
    datasets: list[str]
    seeds: list[int]
    varying: list[str]
    metric: dict[str, str]
    higher_is_better: dict[str, bool]
    measures: list[Measure]
    overview: dict[str, Any] | None
    state: StudyState


class Interval(Answer):
    """A mean over seeds with its 95 % t interval."""

    n: int
    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None


class CellLine(Answer):
    """A configuration: what was asked for except the seed."""

    key: str
    label: str
    words: dict[str, Any]
    metric: str | None
    higher_is_better: bool
    asked: int
    counts: dict[str, int]
    value: Interval
    delta: Interval | None
    p_holm: float | None
    verdict: str
    baseline: str | None


class Cells(Answer):
    """A page of configurations; `under` is the attack under which they were measured, if any."""

    version: int
    under: Measure | None
    total: int
    offset: int
    limit: int
    columns: list[str]
    cells: list[CellLine]


class Panel(Answer):
    """A part of a study that fits one heatmap."""

    id: str
    label: str
    dataset: str
    words: dict[str, Any]
    cells: int


class HeatmapCell(Answer):
    """A configuration at its place; `x` and `y` are positions on the axes."""

    key: str
    x: int
    y: int
    asked: int
    done: int
    failed: int
    blocked: int
    running: int
    n: int
    mean: float | None
    delta: float | None
    verdict: str


class Axis(Answer):
    """An axis: the word and its values in order."""

    word: str
    title: str
    values: list[Any]


class BaselineLine(Answer):
    """The baseline of a panel."""

    key: str
    value: Interval
    asked: int
    done: int


class Heatmap(Answer):
    """Configurations over two axes, filling in.

    `midpoint` is the baseline's mean (or that of all cells), `limit` the distance from it at which
    colours end; both null before any result. `under` is the attack under which the cells were
    measured, if any; `n` of a cell says how many of its trials were.
    """

    version: int
    study: str
    panels: list[Panel]
    panel: str | None
    axes: list[str]
    x: Axis | None
    y: Axis | None
    metric: str | None
    under: Measure | None
    higher_is_better: bool
    midpoint: float | None
    limit: float | None
    baseline: BaselineLine | None
    cells: list[HeatmapCell]


class TrialLine(Answer):
    """A requested cell with its trial."""

    trial_id: str
    cell: str
    label: str
    seed: int
    status: Status
    words: dict[str, Any]
    metric: str | None
    test_metric: float | None
    delta: float | None
    test_loss: float | None
    epochs_run: int | None
    wall_s: float | None
    device_name: str | None
    finished_at: datetime | None
    failure: str | None
    attempts: int


class Trials(Answer):
    """A page of cells with their trials."""

    version: int
    total: int
    offset: int
    limit: int
    columns: list[str]
    trials: list[TrialLine]


class Curve(Answer):
    """Points of a curve, thinned to at most `MAX_POINTS`; `points` says how many there were."""

    name: str
    x_title: str
    x: list[float]
    y: list[float | None]
    points: int


class AttemptLine(Answer):
    """One execution of a trial."""

    attempt_id: str
    number: int | None
    status: str
    kind: str | None
    message: str | None
    traceback: str | None
    node: str | None
    worker: str | None
    device: str | None
    started_at: datetime | None
    finished_at: datetime | None
    wall_s: float | None


class Robustness(Answer):
    """A figure under attack."""

    split: str
    attack: str
    epsilon: float
    value: float | None


class TrialUse(Answer):
    """A study that asks for a trial."""

    study: str
    cell: str
    label: str
    seed: int
    words: dict[str, Any]
    baseline_trial: str | None


class TrialDetail(Answer):
    """One trial whole. `record` has what is neither a curve nor an attempt."""

    trial_id: str
    status: Status
    metric: str | None
    higher_is_better: bool
    record: dict[str, Any]
    curves: list[Curve]
    robustness: list[Robustness]
    attempts: list[AttemptLine]
    uses: list[TrialUse]
    teachers: list[str]
    weights_kept: bool


class Compared(Answer):
    """A configuration among those compared, with its values by seed."""

    cell: CellLine
    seeds: list[int]
    values: list[float | None]
    trial_ids: list[str]


class Difference(Answer):
    """The first minus the second, over the seeds that both have."""

    first: str
    second: str
    n: int
    difference: float | None
    deviation: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: str
    unpaired: int


class Comparison(Answer):
    """Configurations side by side; `p` is that of the paired t test, not corrected.

    `under` is the attack under which they were measured, if any.
    """

    version: int
    study: str
    metric: str | None
    under: Measure | None
    higher_is_better: bool
    cells: list[Compared]
    differences: list[Difference]


class FailureGroup(Answer):
    """Attempts that failed alike."""

    kind: str
    headline: str
    attempts: int
    retried: int
    trials: int
    still_failed: int
    nodes: list[str]
    last_at: datetime | None
    traceback: str | None
    trial_ids: list[str]


class Failures(Answer):
    """Failed attempts of a study, the most frequent first."""

    version: int
    study: str
    kinds: dict[str, int]
    groups: list[FailureGroup]


class Uploaded(Answer):
    """A study that was taken in."""

    name: str
    title: str
    cells: int
    replaced: bool


class Deleted(Answer):
    """A study whose file was deleted; one with results goes on being listed from these."""

    name: str
    has_results: bool


class Planned(Answer):
    """What `sweep plan --json` gives."""

    overview: dict[str, Any]


class Started(Answer):
    """A job that was started."""

    job: JobState


class QueryColumn(Answer):
    """A column of an answer."""

    name: str
    type: str


class QueryExample(Answer):
    """A question to start from."""

    name: str
    question: str
    sql: str


class QueryExamples(Answer):
    """Questions to start from; see `sweep.query.examples`."""

    examples: list[QueryExample]


class QueryAnswer(Answer):
    """Rows of an answer."""

    columns: list[QueryColumn]
    rows: list[list[Any]]
    elapsed_s: float
    warnings: list[str]


class Health(Answer):
    """That the server is at work."""

    status: Literal["ok"]


class Problem(Answer):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
