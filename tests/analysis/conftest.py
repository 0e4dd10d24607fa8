import pandas as pd
import pytest

from analysis import reference


@pytest.fixture(scope="session")
def published(reference_dir) -> pd.DataFrame:
    """The published trials as cells, their teachers chosen on test as the thesis states."""
    path = reference_dir / "thesis-trials.parquet"
    if not path.is_file():
        pytest.skip(f"published trials not found: {path}")
    return reference.read(path, teachers_selected_on="test")
