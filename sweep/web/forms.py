"""What the API takes: the bodies of requests that change something. Unknown keys are refused."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from sweep.records import FailureKind
from sweep.web.questions import MAX_ROWS, MAX_TIMEOUT_S
from sweep.web.uploads import MAX_UPLOAD_BYTES

MAX_SQL = 100_000


def _printable(text: str) -> str:
    if not all(letter.isprintable() or letter in "\n\t\r" for letter in text):
        raise ValueError("must be printable text")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_printable)]
Kind = Annotated[FailureKind, Field(strict=False)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Form(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Nothing(Form):
    """`{}`: there is nothing to say."""


class Login(Form):
    """The token of the server."""

    token: Annotated[str, StringConstraints(max_length=1_000)]


class Upload(Form):
    """A study as TOML text; it may be sent as `application/toml` as well."""

    text: Annotated[str, StringConstraints(max_length=MAX_UPLOAD_BYTES)]


class Choosing(Form):
    """What of a study, as the options `--set`, `--only` and `--seeds`."""

    settings: list[Text] = Field(default_factory=list, max_length=100)
    only: list[Text] = Field(default_factory=list, max_length=20)
    seeds: int | None = Field(None, ge=1, le=10**6)

    def words(self) -> tuple[str, ...]:
        """As arguments, each whole: none can be taken for an option of its own."""
        found = [f"--set={setting}" for setting in self.settings]
        found += [f"--only={condition}" for condition in self.only]
        return (*found, *([] if self.seeds is None else [f"--seeds={self.seeds}"]))


class Plan(Choosing):
    """A study by its name, or as TOML text, and how it would be run."""

    study: Name | None = None
    text: Annotated[str, StringConstraints(max_length=MAX_UPLOAD_BYTES)] | None = None
    workers: int | None = Field(None, ge=1, le=10_000)


class Running(Choosing):
    """How a study is to be run, whatever is run of it."""

    workers: int | None = Field(None, ge=1, le=10_000)
    gpus_per_trial: float | None = Field(None, ge=0, le=1)
    max_failures: int | None = Field(None, ge=1, le=10**6)

    def words(self) -> tuple[str, ...]:
        """As arguments; see `Choosing.words`."""
        options = {
            "workers": self.workers,
            "gpus-per-trial": self.gpus_per_trial,
            "max-failures": self.max_failures,
        }
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        return (*super().words(), *given)


class Launch(Running):
    """How a study is to be started, or gone on with."""

    smoke: bool = False

    def words(self) -> tuple[str, ...]:
        """As arguments; see `Choosing.words`."""
        return (*super().words(), *(["--smoke"] if self.smoke else []))


class Retry(Running):
    """What is to be tried again: failures of these kinds, or of every kind."""

    kind: list[Kind] = Field(default_factory=list, max_length=len(FailureKind))

    def words(self) -> tuple[str, ...]:
        """As arguments; see `Choosing.words`."""
        return (*super().words(), *(f"--kind={kind}" for kind in self.kind))


class Question(Form):
    """One SELECT statement."""

    sql: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SQL)]
    max_rows: int = Field(1_000, ge=1, le=MAX_ROWS)
    timeout_s: float = Field(10.0, ge=0.1, le=MAX_TIMEOUT_S, strict=False)
