"""Finds where the kept networks of a study look. Trains nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import data
from data.masks import Masks, read_masks, require_fit
from data.segment import NAME
from sweep.begun import begun_of
from sweep.cells import matching
from sweep.errors import StudyError, SweepError
from sweep.expand import expand
from sweep.filters import Condition
from sweep.findings import known_to
from sweep.imported import refuse_to_run
from sweep.kept_networks import answers
from sweep.progress import Progress, Silent
from sweep.records import attribution_id, attribution_row, attribution_settings
from sweep.results import Results
from sweep.service import Where, executor
from sweep.store import Store
from sweep.study import Study
from trials.attribution_settings import AttributionSettings
from trials.spec import TrialSpec
from trials.task import AttributeOutcome, AttributeTask


@dataclass(frozen=True)
class AttributionSummary:
    """How it ended.

    Attributes:
        attributed: trials whose networks were asked.
        complete: trials that had been asked the same before.
        without_weights: trained trials whose weights were not kept.
        without_images: chosen trials on data that are no images with classes.
        segmentation: the name of what says where the objects are.
        failures: one line each.
    """

    attributed: int
    complete: int
    without_weights: int
    without_images: int
    segmentation: str
    failures: tuple[str, ...]


def attribute_study(
    study: Study,
    results: Path | str,
    where: Where | None = None,
    *,
    settings: AttributionSettings | None = None,
    masks: Path | None = None,
    only: Iterable[Condition] = (),
    seeds: int | None = None,
    progress: Progress | None = None,
) -> AttributionSummary:
    """Asks the trained networks of a study where they look; what is there is not asked again.

    Args:
        study: whose trials.
        results: where their weights are kept.
        where: on what.
        settings: how the pixels of how many images are weighed.
        masks: a file that says where the objects are (see `data.masks`), of one dataset's test
            rows; None finds them in the images (see `data.segment`).
        only: conditions on the cells, teachers' as well; see `sweep.cells.matching`.
        seeds: the first so many seeds.
        progress: told what happens.

    Raises:
        StoreError: where the study was never run there.
        StudyError: where no cell is chosen, none is on images with classes, masks do not fit, or
            there is no network to ask.
        SweepError: where the file of masks cannot be read.
    """
    progress, settings = progress or Silent(), settings or AttributionSettings()
    store = Store(results)
    asked_for = expand(study, known_to(study, store), seeds, begun_of(study, store)).cells
    chosen = {cell.trial_id: cell.spec for cell in matching(asked_for, only, seeds)}
    if not chosen:
        raise StudyError("nothing is left to look into: no cell matches --only and --seeds")
    specs = {trial_id: spec for trial_id, spec in chosen.items() if _has_images(spec.data)}
    if not specs:
        names = ", ".join(sorted({spec.data.name for spec in chosen.values()}))
        raise StudyError(
            f"dataset {names}: must be images with classes, to see where networks look"
        )
    refuse_to_run(store, study.name)
    objects = None if masks is None else _read(masks, specs.values())
    segmentation = NAME if objects is None else objects.name
    asked = attribution_settings(settings, segmentation)
    found = Results(results).cell_table(study.name).select(["trial_id", "status"]).to_pylist()
    trained = dict.fromkeys(
        row["trial_id"] for row in found if row["status"] == "done" and row["trial_id"] in specs
    )
    there = set(store.attributions.read(["attribution_id"])[0]["attribution_id"].to_pylist())
    todo = [trial_id for trial_id in trained if attribution_id(trial_id, asked) not in there]
    kept = store.kept_weights()
    tasks = [
        AttributeTask(t, specs[t].data, specs[t].recipe.model, specs[t].seed, settings, objects)
        for t in todo
        if t in kept
    ]
    if not tasks and todo == list(trained):
        raise StudyError(_why_none(study, len(trained)))
    failures: list[str] = []
    if tasks:
        needed = tuple(sorted({task.data.name for task in tasks}))
        with store.writing(), executor(where or Where(), datasets=needed) as workers:
            done = "networks asked where they look"
            for outcome in answers(workers, tasks, store, failures, progress, done):
                if isinstance(outcome, AttributeOutcome):
                    store.attributions.publish([attribution_row(outcome, asked)])
    progress.close()
    return AttributionSummary(
        attributed=len(tasks) - len(failures),
        complete=len(trained) - len(todo),
        without_weights=len(todo) - len(tasks),
        without_images=len(chosen) - len(specs),
        segmentation=segmentation,
        failures=tuple(failures),
    )


def _has_images(spec: data.DataSpec) -> bool:
    entry = data.get(spec.name)
    return entry.is_image and entry.task == "classification"


def _read(path: Path, specs: Iterable[TrialSpec]) -> Masks:
    """Masks that fit all data they are to be laid on."""
    rows: Sequence[data.DataSpec] = list(dict.fromkeys(spec.data for spec in specs))
    names = sorted({spec.name for spec in rows})
    if len(names) > 1:
        raise StudyError(
            f"--masks {str(path)!r} says where the objects of one dataset are, and the chosen trials "
            f"are on {', '.join(names)}: choose one, --only dataset={names[0]}"
        )
    try:
        masks = read_masks(path)
        for spec in rows:
            require_fit(masks, spec)
    except OSError as error:
        raise SweepError(f"--masks {str(path)!r}: {error.strerror or error}") from None
    except (data.DataError, ValueError) as error:
        raise SweepError(f"--masks: {error}") from None
    return masks


def _why_none(study: Study, trained: int) -> str:
    if trained == 0:
        return f"no chosen trial of {study.name} has a result: `sweep run {study.name}` trains them"
    return (
        f"the weights of none of {trained} trained trials of {study.name} were kept: "
        "set evaluation.keep = 'weights' before training"
    )
