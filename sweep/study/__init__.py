"""A study: one TOML file that says what to train and measure. Data only; nothing in it is run.

Sections `[grid]`, `[recipe]`, `[split]`, `[teacher]` and `[evaluation]` hold for every dataset;
`[datasets.NAME]` names a dataset and may override any of them for it (`[datasets.NAME.recipe]`).
What is written is merged per dataset and validated as a whole before anything is trained.
"""

from sweep.study.dataset import SECTIONS, DatasetStudy, Teacher
from sweep.study.evaluation import Evaluation
from sweep.study.expected import Expected
from sweep.study.files import MAX_STUDY_BYTES, builtin_names
from sweep.study.grid import RECIPE_AXES, SPLIT_AXES, Grid, members
from sweep.study.keys import documented_keys
from sweep.study.load import load_study, validate
from sweep.study.overrides import apply_overrides
from sweep.study.recipe import Augment, EarlyStop, LrSchedule, Recipe
from sweep.study.size import MAX_CELLS, count_cells
from sweep.study.split import Split
from sweep.study.study import Study

__all__ = [
    "MAX_CELLS", "MAX_STUDY_BYTES", "RECIPE_AXES", "SECTIONS", "SPLIT_AXES", "Augment",
    "DatasetStudy", "EarlyStop", "Evaluation", "Expected", "Grid", "LrSchedule", "Recipe", "Split",
    "Study", "Teacher", "apply_overrides", "builtin_names", "count_cells", "documented_keys",
    "load_study", "members", "validate",
]  # fmt: skip
