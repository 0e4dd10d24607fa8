"""A study: one TOML file that says what to train and measure. Data only; nothing in it is run.

Sections `[grid]`, `[recipe]`, `[split]`, `[teacher]` and `[evaluation]` hold for every dataset;
`[datasets.NAME]` names a dataset and may override any of them for it (`[datasets.NAME.recipe]`).
What is written is merged per dataset and validated as a whole before anything is trained.
"""

import difflib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

import data
import models
from sweep import extensions
from sweep.errors import StudyError

MAX_STUDY_BYTES = 1_000_000
MAX_CELLS = 1_000_000
MAX_DEPTH = 8
SECTIONS = ("grid", "recipe", "split", "teacher", "evaluation")


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _expand_range(value: object) -> object:
    """`{start = 100, stop = 1500, step = 100}` stands for the numbers from start to stop."""
    if not isinstance(value, Mapping):
        return value
    unknown = set(value) - {"start", "stop", "step"}
    if unknown or not {"start", "stop"} <= set(value):
        raise ValueError("a range is written {start = 1, stop = 15, step = 1}, stop included")
    start, stop, step = value["start"], value["stop"], value.get("step", 1)
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in (start, stop, step)):
        raise ValueError("start, stop and step of a range must be whole numbers")
    if step < 1 or stop < start:
        raise ValueError("a range needs step >= 1 and stop >= start")
    if (stop - start) // step >= MAX_CELLS:
        raise ValueError(f"a range may have at most {MAX_CELLS:,} values")
    return list(range(start, stop + 1, step))


def _full_batch(value: object) -> object:
    return None if value == "full" else value


Number = Annotated[float, BeforeValidator(_no_bool)]
Count = Annotated[int, BeforeValidator(_no_bool)]
Alpha = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0)]
BatchSize = Annotated[Annotated[Count, Field(ge=1)] | None, BeforeValidator(_full_batch)]
Init = Literal["default", "he", "xavier", "lecun", "normal"]
Optimizer = Literal["adam", "sgd"]
Seed = Annotated[Count, Field(ge=0, lt=2**63)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, strict=False, ser_json_inf_nan="strings"
    )


def _distinct(values: Sequence[Any], what: str) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r} is given twice; each must be given once")
        seen.add(value)


class Grid(_Section):
    """The axes of a study; every combination is a cell."""

    teacher: tuple[str, ...] = Field((), description="teacher networks, by name")
    alpha: tuple[Alpha, ...] = Field((), description="weight of the hard loss while guided, 0..1")
    switch_epoch: Annotated[
        tuple[Annotated[Count, Field(ge=0)], ...], BeforeValidator(_expand_range)
    ] = Field((), description="guided while epoch < switch_epoch; list or {start, stop, step}")
    temperature: tuple[Positive, ...] = Field((1.0,), description="softens both softmax outputs")
    past_end: Literal["refuse", "allow"] = Field(
        "refuse", description="whether a switch_epoch above the number of epochs is a mistake, or "
        "stands for never switching"
    )  # fmt: skip
    epochs: tuple[Annotated[Count, Field(ge=1)], ...] = Field(
        (), description="sweeps recipe.epochs for students and baselines"
    )
    batch_size: tuple[BatchSize, ...] = Field((), description="sweeps recipe.batch_size")
    learning_rate: tuple[Positive, ...] = Field((), description="sweeps recipe.learning_rate")
    weight_decay: tuple[Annotated[Number, Field(ge=0)], ...] = Field(
        (), description="sweeps recipe.weight_decay"
    )
    init: tuple[Init, ...] = Field((), description="sweeps recipe.init")

    @model_validator(mode="after")
    def _values(self) -> "Grid":
        for key in type(self).model_fields:
            values = getattr(self, key)
            if isinstance(values, tuple):
                _distinct(values, f"{key}:")
        axes = (len(self.teacher), len(self.alpha), len(self.switch_epoch), len(self.temperature))
        if any(axes[:3]) and not all(axes):
            empty = [
                key for key in ("teacher", "alpha", "switch_epoch", "temperature")
                if not getattr(self, key)
            ]  # fmt: skip
            raise ValueError(
                f"an empty grid: {', '.join(empty)} has no value; give each of teacher, alpha, "
                "switch_epoch at least one value (or none of them, for baselines only)"
            )
        return self


RECIPE_AXES = ("epochs", "batch_size", "learning_rate", "weight_decay", "init")


class Recipe(_Section):
    """How networks are trained."""

    epochs: Annotated[Count, Field(ge=1, le=10_000_000)] = Field(..., description="of a training")
    batch_size: BatchSize = Field(..., description='rows of a minibatch, or "full"')
    optimizer: Optimizer = Field("adam", description="adam or sgd")
    learning_rate: Positive = Field(0.001, description="constant over the training")
    weight_decay: Annotated[Number, Field(ge=0)] = Field(0.0, description="L2 penalty")
    momentum: Annotated[Number, Field(ge=0, lt=1)] = Field(0.0, description="of sgd")
    init: Init = Field("default", description="initialisation; default: PyTorch's layer defaults")
    soft_loss: Literal["auto", "kl", "mse"] = Field(
        "auto", description="distance to the teacher; auto: kl to classify, mse to regress"
    )
    precision: Literal["float32"] = Field("float32", description="number format of the training")

    @model_validator(mode="after")
    def _momentum(self) -> "Recipe":
        if self.momentum and self.optimizer != "sgd":
            raise ValueError("momentum is only used by optimizer = 'sgd'; leave it out or 0")
        return self


class Split(_Section):
    """Which rows train and which select; the test rows of a dataset are fixed."""

    train_size: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="rows of a stratified subset of the training rows; absent: all"
    )
    validation: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0, description="fraction of the training rows that is set aside"
    )
    split_seed: Seed = Field(0, description="steers which rows are set aside; not the trial's seed")


class Teacher(_Section):
    """How teachers are trained and chosen."""

    select_on: Literal["test", "validation"] = Field(
        "validation", description="split on which the best teacher is chosen"
    )
    select_by: Literal["metric", "loss"] = Field("metric", description="what is compared")
    seeds: tuple[Seed, ...] | None = Field(
        None, description="seeds of the teachers; absent: those of the study"
    )
    recipe: dict[str, Any] = Field(
        default_factory=dict, description="overrides [recipe] for teachers"
    )

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if seeds is not None:
            if not seeds:
                raise ValueError("no seed given; at least one is needed")
            _distinct(seeds, "seed")
        return seeds


class Evaluation(_Section):
    """What is measured and kept; never part of a trial's identity."""

    fgsm_epsilons: tuple[Annotated[Number, Field(ge=0)], ...] = Field(
        (), description="step sizes of the FGSM attack, in the space of the network's inputs"
    )
    every_epochs: Annotated[Count, Field(ge=0)] = Field(
        0, description="evaluate after every n epochs as well; 0: only at the end"
    )
    keep: Literal["none", "weights", "snapshot"] = Field(
        "none", description="what is kept of students and baselines; teachers' weights always are"
    )

    @field_validator("fgsm_epsilons")
    @classmethod
    def _epsilons(cls, epsilons: tuple[float, ...]) -> tuple[float, ...]:
        _distinct(epsilons, "epsilon")
        return epsilons


class DatasetStudy(_Section):
    """One dataset of a study, with all sections merged."""

    student: str = Field("student", description="the network that is guided")
    baseline: bool = Field(True, description="whether the student is also trained alone")
    grid: Grid = Field(Grid(), description="see [grid]")  # type: ignore[call-arg]
    recipe: Recipe = Field(..., description="see [recipe]")
    split: Split = Field(Split(), description="see [split]")  # type: ignore[call-arg]
    teacher: Teacher = Field(Teacher(), description="see [teacher]")  # type: ignore[call-arg]
    evaluation: Evaluation = Field(
        Evaluation(),  # type: ignore[call-arg]
        description="see [evaluation]",
    )

    def teacher_recipe(self) -> Recipe:
        """The recipe of the teachers."""
        return Recipe.model_validate({**self.recipe.model_dump(), **self.teacher.recipe})


class Study(_Section):
    """A whole study, validated."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = Field(
        ..., description="lower-case letters, digits, - and _; names files in the results"
    )
    title: str = Field("", max_length=200, description="one line")
    question: str = Field("", max_length=4000, description="what the study asks")
    seeds: tuple[Seed, ...] = Field(..., min_length=1, description="repeats of every point")
    datasets: dict[str, DatasetStudy] = Field(..., min_length=1, description="by dataset name")

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        _distinct(seeds, "seed")
        return seeds

    def to_json(self) -> str:
        """The whole study as text, for the record."""
        return self.model_dump_json()


def builtin_names() -> list[str]:
    """The studies that ship inside the package."""
    folder = resources.files("sweep") / "studies"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def load_study(
    source: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | Iterable[str] = ()
) -> Study:
    """Reads and validates a study.

    Args:
        source: a built-in name, a TOML file, or the content of one as a mapping.
        overrides: `{"recipe.epochs": 2}` or `["recipe.epochs=2"]`; see `apply_overrides`.

    Raises:
        StudyError: naming the key, the value and what is allowed.
    """
    extensions.load()
    raw = dict(source) if isinstance(source, Mapping) else _read(str(source))
    _check_depth(raw)
    apply_overrides(raw := _copy(raw), overrides)
    return validate(raw)


def validate(raw: Mapping[str, Any]) -> Study:
    """Validates the content of a study file.

    Raises:
        StudyError: naming the key, the value and what is allowed.
    """
    _known_keys(raw)
    sections = {key: raw[key] for key in SECTIONS if key in raw}
    datasets = raw.get("datasets", {})
    merged = {
        name: _merge(sections, own if isinstance(own, Mapping) else {})
        for name, own in datasets.items()
    }
    for name in merged:
        _ask_catalog(lambda name=name: data.get(name), f"datasets.{name}")  # type: ignore[misc]
    try:
        study = Study.model_validate(
            {key: value for key, value in raw.items() if key not in SECTIONS} | {"datasets": merged}
        )
    except ValidationError as error:
        raise StudyError(_describe(error, raw)) from None
    for name, dataset in study.datasets.items():
        _check_dataset(name, dataset)
    cells = count_cells(study)
    if cells > MAX_CELLS:
        raise StudyError(f"the grid has {cells:,} cells; at most {MAX_CELLS:,} are allowed")
    if cells == 0:
        raise StudyError("an empty grid: no cell to train; give [grid] values or baseline = true")
    return study


def count_cells(study: Study) -> int:
    """The number of cells, without making them."""
    total = 0
    for dataset in study.datasets.values():
        grid = dataset.grid
        recipes = math.prod(max(1, len(getattr(grid, axis))) for axis in RECIPE_AXES)
        guided = (
            len(grid.teacher) * len(grid.alpha) * len(grid.switch_epoch) * len(grid.temperature)
        )
        total += recipes * len(study.seeds) * (guided + dataset.baseline)
        total += len(grid.teacher) * len(dataset.teacher.seeds or study.seeds)
    return total


def apply_overrides(raw: dict[str, Any], overrides: Mapping[str, Any] | Iterable[str]) -> None:
    """Sets keys by dotted path, in place.

    `recipe.epochs=2` holds for every dataset, also where the study overrides that key for one;
    `datasets.cifar10.recipe.epochs=2` for one alone. A value is read as TOML; what is no TOML
    value is a string.

    Raises:
        StudyError: for a text without `=` or a path through something that is no section.
    """
    if isinstance(overrides, Mapping):
        pairs = list(overrides.items())
    else:
        pairs = [_parse_override(text) for text in overrides]
    for path, value in pairs:
        keys = path.split(".")
        if keys[0] in SECTIONS:
            for dataset in raw.get("datasets", {}).values():
                _forget(dataset, keys)
        target = raw
        for position, key in enumerate(keys[:-1]):
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise StudyError(f"{'.'.join(keys[: position + 1])} is not a section of the study")
        target[keys[-1]] = value


def _parse_override(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path or not all(path.split(".")):
        raise StudyError(f"--set {text!r}: must be written key=value, e.g. recipe.epochs=2")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return path, value.strip()


def _forget(table: object, keys: Sequence[str]) -> None:
    for key in keys[:-1]:
        if not isinstance(table, dict) or key not in table:
            return
        table = table[key]
    if isinstance(table, dict):
        table.pop(keys[-1], None)


def _read(source: str) -> dict[str, Any]:
    if source in builtin_names():
        text = (resources.files("sweep") / "studies" / f"{source}.toml").read_text("utf-8")
        return tomllib.loads(text)
    path = Path(source)
    if not path.is_file():
        if path.suffix == ".toml" or len(path.parts) > 1:
            raise StudyError(f"study file {source!r} does not exist")
        raise StudyError(
            f"unknown study {source!r}; {_allowed(source, builtin_names())}, or a file"
        )
    try:
        if path.stat().st_size > MAX_STUDY_BYTES:
            raise StudyError(f"study file {source!r} is larger than {MAX_STUDY_BYTES:,} bytes")
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise StudyError(f"study file {source!r} is not UTF-8 text: {error}") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, StudyError):
            raise
        raise StudyError(f"study file {source!r} is not valid TOML: {error}") from None
    except OSError as error:
        raise StudyError(f"study file {source!r} cannot be read: {error.strerror}") from None


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _check_depth(value: object, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise StudyError(f"the study is nested more than {MAX_DEPTH} levels deep")
    children = value.values() if isinstance(value, Mapping) else value
    if isinstance(children, list | tuple) or isinstance(value, Mapping):
        for child in children:  # type: ignore[attr-defined]
            _check_depth(child, depth + 1)


def _merge(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(common)
    for key, value in own.items():
        both = isinstance(value, Mapping) and isinstance(common.get(key), Mapping)
        is_range = both and {"start", "stop"} & set(value)
        merged[key] = _merge(common[key], value) if both and not is_range else value
    return merged


def _allowed(value: str, names: Iterable[str]) -> str:
    names = sorted(names)
    close = difflib.get_close_matches(str(value), names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"allowed: {', '.join(names)}{hint}"


def _known_keys(raw: Mapping[str, Any]) -> None:
    """Refuses unknown keys with the nearest known one; pydantic would name them less well."""
    top = {*Study.model_fields, *SECTIONS}
    own = set(DatasetStudy.model_fields)
    section_models = {
        "grid": Grid, "recipe": Recipe, "split": Split, "teacher": Teacher,
        "evaluation": Evaluation,
    }  # fmt: skip

    def check(table: object, path: str, known: set[str]) -> None:
        if not isinstance(table, Mapping):
            raise StudyError(f"{path} = {_show(table)}: must be a section (a TOML table)")
        for key in table:
            if key not in known:
                name = f"{path}.{key}" if path else key
                raise StudyError(f"unknown key {name!r}; {_allowed(key, known)}")

    def check_sections(table: Mapping[str, Any], path: str) -> None:
        for section, model in section_models.items():
            if section in table:
                name = f"{path}{section}"
                check(table[section], name, set(model.model_fields))
                if section == "teacher" and "recipe" in table[section]:
                    check(table[section]["recipe"], f"{name}.recipe", set(Recipe.model_fields))

    check(raw, "", top)
    check_sections(raw, "")
    if "datasets" not in raw or not raw["datasets"]:
        raise StudyError(f"datasets: missing; name at least one, {_allowed('', data.names())}")
    check(raw["datasets"], "datasets", set(raw["datasets"]))
    for name, table in raw["datasets"].items():
        check(table, f"datasets.{name}", own)
        check_sections(table, f"datasets.{name}.")


def _ask_catalog(ask: Any, key: str) -> Any:
    try:
        return ask()
    except ValueError as error:
        raise StudyError(f"{key}: {error}") from None


def _check_dataset(name: str, dataset: DatasetStudy) -> None:
    """Checks what needs more than one section."""
    key = f"datasets.{name}"
    grid, recipe = dataset.grid, dataset.recipe
    _ask_catalog(lambda: models.get(name, dataset.student), f"{key}.student")
    for teacher in grid.teacher:
        _ask_catalog(lambda t=teacher: models.get(name, t), f"{key}.grid.teacher")  # type: ignore[misc]
    _ask_catalog(lambda: data.DataSpec(name, **dataset.split.model_dump()), f"{key}.split")
    if dataset.teacher.select_on == "validation" and grid.teacher and not dataset.split.validation:
        raise StudyError(
            f"{key}.teacher.select_on = 'validation': needs split.validation above 0 (a fraction "
            "of the training rows), or select_on = 'test', which chooses on the final figure's rows"
        )
    task = data.get(name).task
    if recipe.soft_loss == "kl" and task == "regression":
        raise StudyError(f"{key}.recipe.soft_loss = 'kl': must be mse or auto for regression")
    for epochs in grid.epochs or (recipe.epochs,):
        late = [epoch for epoch in grid.switch_epoch if epoch > epochs]
        if late and grid.past_end == "refuse":
            raise StudyError(
                f"{key}.grid.switch_epoch = {late[0]}: past the end of {epochs} epochs; allowed: "
                f"0..{epochs} ({epochs} never switches; grid.past_end = 'allow' takes larger "
                "values to mean the same)"
            )
    try:
        dataset.teacher_recipe()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StudyError(
            f"{key}.teacher.recipe.{where} = {_show(first['input'])}: {_message(first)}"
        ) from None


def _show(value: object) -> str:
    text = json.dumps(value, default=str) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _message(error: Any) -> str:
    message = str(error["msg"])
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def _describe(error: ValidationError, raw: Mapping[str, Any]) -> str:
    """Each problem as `key = value: what is allowed`, under the key as the user wrote it."""
    lines: list[str] = []
    for problem in error.errors():
        loc = [part for part in problem["loc"] if not _is_type_tag(part)]
        if len(loc) > 2 and loc[0] == "datasets" and loc[2] in SECTIONS:
            own = raw["datasets"].get(loc[1], {}).get(loc[2], {})
            if len(loc) == 3 or not isinstance(own, Mapping) or loc[3] not in own:
                loc = loc[2:] if loc[2] in raw else loc
        key = ""
        for part in loc:
            key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
        if problem["type"] == "missing":
            line = f"{key}: missing"
        elif problem["type"] == "string_pattern_mismatch" and key == "name":
            line = (
                f"name = {_show(problem['input'])}: must be lower-case letters, digits, - and _, "
                "starting with a letter or digit, at most 64 long"
            )
        elif isinstance(problem["input"], Mapping | BaseModel):
            line = f"{key}: {_message(problem)}"
        else:
            line = f"{key} = {_show(problem['input'])}: {_message(problem)}"
        if line not in lines:
            lines.append(line)
    return "\n".join(lines[:20])


def _is_type_tag(part: object) -> bool:
    """Pydantic names the branch of a union in the location; users did not write it."""
    return isinstance(part, str) and ("[" in part or part in {"int", "none", "constrained-int"})
