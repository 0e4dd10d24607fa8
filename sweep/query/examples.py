"""Questions to start from, each one query that runs on any results."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A question and the query that answers it."""

    name: str
    question: str
    sql: str


EXAMPLES = (
    Example(
        "best",
        "Which five configurations of every dataset are best, and how sure is that?",
        """\
SELECT study, dataset, teacher, alpha, switch_epoch, n, mean, ci_low, ci_high, difference
FROM cells WHERE role = 'student' AND n > 0
QUALIFY row_number() OVER (
    PARTITION BY study, dataset
    ORDER BY CASE WHEN metric_name IN ('accuracy', 'r2') THEN -mean ELSE mean END
) <= 5
ORDER BY study, dataset, CASE WHEN metric_name IN ('accuracy', 'r2') THEN -mean ELSE mean END""",
    ),
    Example(
        "better",
        "What share of the configurations has a better mean than the baseline of the same seeds, and "
        "of how many does the 95 % interval exclude zero?",
        """\
WITH gains AS (
    SELECT study, dataset, CASE WHEN metric_name IN ('accuracy', 'r2') THEN 1 ELSE -1 END AS sign,
        sign * difference AS gain,
        least(sign * difference_ci_low, sign * difference_ci_high) AS at_least
    FROM cells WHERE role = 'student' AND n_pairs > 0
)
SELECT study, dataset, count(*) AS configurations,
    100.0 * count(*) FILTER (gain > 0) / count(*) AS better_percent,
    count(*) FILTER (at_least > 0) AS interval_better
FROM gains GROUP BY ALL ORDER BY study, dataset""",
    ),
    Example(
        "robustness",
        "How far does the metric fall under each attack (an error rises: it falls by less than nothing)?",
        """\
SELECT dataset, role, attack, epsilon, count(*) AS trials, avg(test_metric) AS clean,
    avg(value) AS attacked, avg(test_metric - value) AS fall
FROM robustness JOIN trials USING (trial_id) WHERE status = 'done'
GROUP BY ALL ORDER BY dataset, role, attack, epsilon""",
    ),
    Example(
        "loss",
        "What is the training loss of two configurations in the fifth epoch?",
        """\
SELECT study, dataset, alpha, count(DISTINCT seed) AS seeds, avg(curves.train_loss) AS loss
FROM requested JOIN curves USING (trial_id)
WHERE teacher = 'small' AND switch_epoch = 5 AND alpha IN (0.1, 0.9) AND epoch > 4 AND epoch <= 5
GROUP BY ALL ORDER BY study, dataset, alpha""",
    ),
    Example(
        "failures",
        "What failed, where, and how often?",
        """\
SELECT kind, node, count(*) AS attempts, count(DISTINCT trial_id) AS trials,
    max(finished_at) AS last_at
FROM attempts WHERE kind IS NOT NULL GROUP BY ALL ORDER BY attempts DESC, kind, node""",
    ),
    Example(
        "pace",
        "How long does an epoch take on each device?",
        """\
SELECT device_name, dataset, model, count(*) AS trials,
    sum(train_s) / sum(epochs_run) AS seconds_per_epoch
FROM trials WHERE train_s > 0 AND epochs_run > 0
GROUP BY ALL ORDER BY device_name, dataset, model""",
    ),
    Example(
        "missing",
        "Which seeds of a configuration have no result yet, and why?",
        """\
SELECT study, dataset, role, model, teacher, alpha, switch_epoch, status,
    list(seed ORDER BY seed) AS seeds
FROM requested WHERE status <> 'done' GROUP BY ALL
ORDER BY study, dataset, role, model, teacher, alpha, switch_epoch, status""",
    ),
    Example(
        "switch",
        "How does the metric depend on the switch epoch, with the small teacher?",
        """\
SELECT study, dataset, alpha, switch_epoch, n, mean, ci_low, ci_high
FROM cells WHERE teacher = 'small' ORDER BY study, dataset, alpha, switch_epoch""",
    ),
    Example(
        "teachers",
        "Which trials were chosen as teachers, on which split, and how many students did they guide?",
        """\
SELECT dataset, model, seed, test_metric, guided.selected_on, count(*) AS students
FROM (SELECT unnest(teacher_trial_ids) AS trial_id, selected_on FROM trials) AS guided
JOIN trials USING (trial_id) GROUP BY ALL ORDER BY dataset, model, seed""",
    ),
    Example(
        "cost",
        "What did every dataset cost?",
        """\
SELECT dataset, role, count(*) AS trials, sum(epochs_run) AS epochs, sum(device_s) / 3600 AS hours,
    max(peak_memory_bytes) / 1e9 AS peak_memory_gb
FROM trials GROUP BY ALL ORDER BY dataset, role""",
    ),
)
