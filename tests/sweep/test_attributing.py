"""Where kept networks look: asked once, kept, joined to cells, told by every reader."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import analysis
from data.load import load
from sweep.attributing import attribute_study
from sweep.errors import StudyError, SweepError
from sweep.expand import cells as cells_of
from sweep.filters import parse
from sweep.merge import merge
from sweep.query import query
from sweep.records import attribution_id, attribution_settings
from sweep.reporting import export, write
from sweep.results import Results
from sweep.service import Where, run_study
from sweep.store import Store
from sweep.study import load_study
from tests.sweep.tiny import tiny_study
from trials.attribution import attribute
from trials.attribution_settings import AttributionSettings
from trials.weights import restore

STUDY = tiny_study(**{"evaluation.keep": "weights", "grid.switch_epoch": [1]})
HERE = Where(local=True)
FEW = AttributionSettings(images=5, background=10)
TRIALS = 6
"""Two teachers, two baselines and two students with alpha 0.1; alpha 1 is the baseline."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attributing") / "results"
    run_study(STUDY, folder, HERE)
    return folder


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "results")


def kept(place: Path) -> pa.Table:
    rows, damaged = Store(place).attributions.read()
    assert not damaged
    return rows.drop_columns(["finished_at"]).sort_by("attribution_id")


def test_every_network_is_asked_once_for_each_way(results: Path) -> None:
    first = attribute_study(STUDY, results, HERE, settings=FEW, only=parse(["role=student"]))
    # the students with alpha 1 are the baselines' trials
    assert (first.attributed, first.complete, first.segmentation) == (4, 0, "border-otsu")
    second = attribute_study(STUDY, results, HERE, settings=FEW)
    assert (second.attributed, second.complete, second.failures) == (TRIALS - 4, 4, ())
    before = kept(results)
    assert attribute_study(STUDY, results, HERE, settings=FEW).complete == TRIALS
    assert kept(results).equals(before)
    more = AttributionSettings(images=6, background=10)
    assert attribute_study(STUDY, results, HERE, settings=more, seeds=1).attributed == TRIALS // 2
    assert len(kept(results)) == TRIALS + TRIALS // 2


def test_a_row_is_what_its_network_gives(results: Path) -> None:
    attribute_study(STUDY, results, HERE, settings=FEW, only=parse(["role=baseline seed=2"]))
    (row,) = kept(results).to_pylist()
    (cell,) = [c for c in cells_of(STUDY) if c.role == "baseline" and c.spec.seed == 2]
    assert row["trial_id"] == cell.trial_id
    assert row["attribution_id"] == attribution_id(
        cell.trial_id, attribution_settings(FEW, "border-otsu")
    )
    content = Store(results).read_weights(cell.trial_id)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = restore(cell.spec.data, "medium", content or b"")
    found = attribute(model, load(cell.spec.data), FEW, seed=2)
    torch.set_num_threads(threads)
    assert row["completeness_error"] == found.completeness_error
    assert row["background_used"] == 10
    assert [list(point.values()) for point in row["points"]] == [
        [i.row, i.label, i.predicted, i.foreground, i.background, i.share, i.area]
        for i in found.images
    ]


@pytest.mark.slow
def test_it_is_the_same_on_ray(results: Path, tmp_path: Path) -> None:
    other = shutil.copytree(results, tmp_path / "ray")
    for place, where in ((results, HERE), (other, Where(workers=2, gpus_per_trial=0))):
        assert attribute_study(STUDY, place, where, settings=FEW).attributed == TRIALS
    assert kept(results).equals(kept(other))


def masks_file(folder: Path, masks: np.ndarray) -> Path:
    path = folder / "objects.npz"
    np.savez(path, masks=masks)
    return path


def test_masks_come_from_a_file(results: Path, tmp_path: Path) -> None:
    rows = cells_of(STUDY)[0].spec.data.rows()
    assert rows is not None
    top = np.zeros((rows[2], 8, 8), bool)
    top[:, :2] = True
    path = masks_file(tmp_path, top)
    options = {"settings": FEW, "only": parse(["role=teacher"])}
    done = attribute_study(STUDY, results, HERE, masks=path, **options)
    assert done.attributed == 2
    assert done.segmentation.startswith("masks-")
    assert {p["area"] for row in kept(results).to_pylist() for p in row["points"]} == {0.25}
    # the masks count, not the name of their file
    renamed = path.rename(tmp_path / "other.npz")
    assert attribute_study(STUDY, results, HERE, masks=renamed, **options).complete == 2
    assert attribute_study(STUDY, results, HERE, **options).attributed == 2
    with pytest.raises(SweepError, match=r"--masks: masks of shape \(9, 8, 8\) do not fit"):
        attribute_study(STUDY, results, HERE, masks=masks_file(tmp_path, top[:9]), **options)
    with pytest.raises(SweepError, match=r"none.npz': No such file"):
        attribute_study(STUDY, results, HERE, masks=tmp_path / "none.npz", **options)


def test_mistakes_are_named_before_anything_is_computed(tmp_path: Path) -> None:
    study = tiny_study(**{"grid.switch_epoch": [1]})
    run_study(study, tmp_path, HERE, only=parse(["role=baseline"]))
    with pytest.raises(StudyError, match="weights of none of 2 trained trials of tiny were kept"):
        attribute_study(study, tmp_path, HERE, only=parse(["role=baseline"]))
    with pytest.raises(StudyError, match="no chosen trial of tiny has a result"):
        attribute_study(study, tmp_path, HERE, only=parse(["role=teacher"]))
    with pytest.raises(StudyError, match="no cell matches"):
        attribute_study(study, tmp_path, HERE, only=parse(["role=teacher", "role=student"]))
    houses = load_study(
        {
            "name": "tiny", "seeds": [1],
            "grid": {"teacher": ["small"], "alpha": [0.1], "switch_epoch": [1]},
            "recipe": {"epochs": 2, "batch_size": 32}, "split": {"validation": 0.1},
            "datasets": {"california_housing": {}},
        }
    )  # fmt: skip
    with pytest.raises(StudyError, match="dataset california_housing: must be images with classes"):
        attribute_study(houses, tmp_path, HERE)


def test_damaged_weights_fail_alone(results: Path) -> None:
    store = Store(results)
    damaged = sorted(store.kept_weights())[0]
    path = Path(str(store.layout.weights(damaged)))
    path.write_bytes(path.read_bytes()[:-9])
    done = attribute_study(STUDY, results, HERE, settings=FEW)
    assert (done.attributed, len(done.failures)) == (TRIALS - 1, 1)
    assert damaged not in kept(results)["trial_id"].to_pylist()


def test_cells_queries_and_exports_tell_of_it(results: Path, tmp_path: Path) -> None:
    before = Results(results).cells("tiny")
    assert "attributions" not in before
    attribute_study(STUDY, results, HERE, settings=FEW)
    attribute_study(
        STUDY, results, HERE, settings=AttributionSettings(3, 10), only=parse(["role=baseline"])
    )
    cells = Results(results).cells("tiny")
    assert list(cells.columns) == [*before.columns, "attributions"]
    assert "attributions" not in Results(results).cells("tiny", without=["attributions"])
    raw = {(row["trial_id"], row["images"]): row for row in kept(results).to_pylist()}
    for _, cell in cells.iterrows():
        entries = cell["attributions"]
        own = {images for trial_id, images in raw if trial_id == cell["trial_id"]}
        assert {entry["images"] for entry in entries} == own
        for entry in entries:
            row = raw[cell["trial_id"], entry["images"]]
            for name in row["points"][0]:
                expected = [np.nan if p[name] is None else p[name] for p in row["points"]]
                np.testing.assert_array_equal(entry[name], expected)
            assert entry["explains"] == "label"

    sql = "SELECT images, count(*) AS n, count(DISTINCT trial_id) AS t FROM attributions GROUP BY 1"
    assert sorted(query(Results(results), sql).to_pylist(), key=lambda row: row["images"]) == [
        {"images": 3, "n": 6, "t": 2}, {"images": 5, "n": 5 * TRIALS, "t": TRIALS},
    ]  # fmt: skip
    sql = "SELECT avg(share) AS share FROM attributions JOIN trials USING (trial_id) WHERE images=5"
    shares = [p["share"] for row in raw.values() if row["images"] == 5 for p in row["points"]]
    (answer,) = query(Results(results), sql).to_pylist()
    assert answer["share"] == pytest.approx(np.mean(shares))
    figure = analysis.draw_figure(cells, "attribution-violins")
    assert figure.data[0].name == "baseline"
    write(Results(results), "tiny", tmp_path / "tiny.html")
    assert "Where do networks look?" in (tmp_path / "tiny.html").read_text("utf-8")
    export(Results(results), "tiny", tmp_path / "tiny.parquet")
    export(Results(results), "tiny", tmp_path / "tiny.csv")
    assert "attributions" not in (tmp_path / "tiny.csv").read_text().splitlines()[0]


def test_merged_directories_have_each_once_and_no_contradiction(
    results: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(results, tmp_path / "other")
    attribute_study(STUDY, results, HERE, settings=FEW, seeds=1)
    attribute_study(STUDY, other, HERE, settings=FEW)
    into = Store(tmp_path / "into")
    summary = merge([Store(results), Store(other)], into)
    assert summary.conflicts == []
    assert summary.added["attributions"] == TRIALS
    assert kept(tmp_path / "into").equals(kept(other))
    assert "attributions" not in merge([Store(other)], into).added

    row = kept(other).slice(0, 1).to_pylist()[0]
    changed = [{**point, "share": 0.5} for point in row["points"]]
    third = shutil.copytree(results, tmp_path / "third")
    for file in (third / "attributions").glob("*"):
        file.unlink()
    Store(third).attributions.publish([{**row, "points": changed}])
    summary = merge([Store(other), Store(third)], Store(tmp_path / "again"))
    (conflict,) = summary.conflicts
    assert conflict.what == f"{row['trial_id']} expected-gradients border-otsu"
    assert conflict.columns == ("points",)
    assert row["attribution_id"] not in kept(tmp_path / "again")["attribution_id"].to_pylist()
