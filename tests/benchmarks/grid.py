"""The grids that are timed: one teacher, one alpha, one seed, every switch epoch, the baseline.

Sizes are scaled down, proportions kept: switch epochs divide the training into equal parts, as in
the home study. Fashion-MNIST is cut in its test rows too, or evaluation would outweigh training.
"""

import argparse
import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import data
import models
from data.catalog import RawArrays
from models.home import SIZES
from sweep.expand import cells
from sweep.plan import plan
from sweep.study import Study, load_study

TEACHER, ALPHA, SEED = "small", 0.1, 38
EPSILONS = (0.005, 0.01, 0.05)


@dataclass(frozen=True)
class Grid:
    """One grid at one length.

    Attributes:
        dataset: name in the catalogue.
        epochs: of every training, a multiple of `switch_points`.
        switch_points: students; the last one never switches.
        batch_size: rows of a minibatch; 0 for the whole training set.
        train_size: training rows; 0 for all.
        test_size: test rows; 0 for all.
    """

    dataset: str
    epochs: int
    switch_points: int = 15
    batch_size: int = 0
    train_size: int = 0
    test_size: int = 0

    @classmethod
    def parse(cls, description: str | None, *more: str) -> "tuple[Grid, argparse.Namespace]":
        """A grid from the command line, with the values of further arguments."""
        parser = argparse.ArgumentParser(description=description)
        for field in fields(cls):
            kind = str if field.name == "dataset" else int
            needed = field.name in ("dataset", "epochs")
            parser.add_argument(
                f"--{field.name}",
                type=kind,
                required=needed,
                default=None if needed else field.default,
            )
        for name in more:
            parser.add_argument(f"--{name}", required=True)
        options = vars(parser.parse_args())
        own = {field.name: options.pop(field.name) for field in fields(cls)}
        return cls(**own), argparse.Namespace(**options)

    def arguments(self) -> list[str]:
        """What `parse` reads this grid from."""
        return [f"--{field.name}={getattr(self, field.name)}" for field in fields(self)]

    @property
    def switch_epochs(self) -> tuple[int, ...]:
        """Epochs after which a student goes on alone.

        Raises:
            ValueError: where the epochs cannot be divided into equal parts.
        """
        step, rest = divmod(self.epochs, self.switch_points)
        if rest or step < 1:
            raise ValueError(f"epochs = {self.epochs}: must be a multiple of {self.switch_points}")
        return tuple(range(step, self.epochs + 1, step))

    def known_dataset(self) -> str:
        """The dataset's name; one whose test rows are cut is registered under a name of its own."""
        if not self.test_size:
            return self.dataset
        name = f"{self.dataset}_{self.test_size}"
        whole = data.get(self.dataset)
        data.register(
            data.DatasetEntry(
                name=name,
                task=whole.task,
                outputs=whole.outputs,
                input_shape=whole.input_shape,
                pixel_max=whole.pixel_max,
                embedded=True,
                prepare=functools.partial(_first_test_rows, self.dataset, self.test_size),
            ),
            replace=True,
        )
        for size, build in SIZES[self.dataset].items():
            models.register(models.ModelEntry(size, build, name), replace=True)
        return name

    def data_spec(self) -> data.DataSpec:
        """Its rows."""
        return data.DataSpec(self.known_dataset(), train_size=self.train_size or None)

    def study(self) -> Study:
        """The grid as a study."""
        return load_study(
            {
                "name": "grid",
                "seeds": [SEED],
                "grid": {
                    "teacher": [TEACHER],
                    "alpha": [ALPHA],
                    "switch_epoch": list(self.switch_epochs),
                },
                "recipe": {"epochs": self.epochs, "batch_size": self.batch_size or "full"},
                "split": {"train_size": self.train_size} if self.train_size else {},
                "teacher": {"select_on": "test"},
                "evaluation": {"fgsm_epsilons": list(EPSILONS)},
                "datasets": {self.known_dataset(): {}},
            }
        )

    def epochs_of_students(self, share: bool) -> int:
        """Epochs of students and baseline, as the plan has them."""
        return plan([c.spec for c in cells(self.study()) if c.role != "teacher"], share).epochs


def _first_test_rows(dataset: str, rows: int, folder: Path) -> RawArrays:
    """A dataset with fewer test rows: the first in canonical order, which is as good as random."""
    from data import store

    whole = store.read(dataset, folder)
    return RawArrays(whole.x_train, whole.y_train, whole.x_test[:rows], whole.y_test[:rows])


def absent(datasets: Sequence[str]) -> str | None:
    """Why a grid on these datasets cannot be run; None where it can."""
    folder = data.default_data_dir()
    there = {status.name for status in data.describe(folder) if status.present}
    missing = [name for name in datasets if name not in there]
    if not missing:
        return None
    return f"{', '.join(missing)} is not in {folder}; `sweep data fetch {missing[0]}` puts it there"
