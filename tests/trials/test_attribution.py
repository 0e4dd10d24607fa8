"""Where a network looks, on pictures whose answer is known, and through a whole task."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import data
from data.load import LoadedData, Split
from data.masks import Masks
from models.initialise import build
from trials.attribution import attribute, chosen_rows, parted, resized_masks
from trials.attribution_settings import AttributionSettings
from trials.stage import Workshop, run_task
from trials.task import AttributeOutcome, AttributeTask
from trials.weights import to_bytes

DIGITS = data.DataSpec("digits", train_size=64)


def pictures(images: int = 4) -> LoadedData:
    """One channel, 4 x 4, black but for a bright square of 2 x 2 in the middle; two classes."""
    x = torch.zeros(images, 1, 4, 4, dtype=torch.uint8)
    x[:, :, 1:3, 1:3] = 255
    y = torch.arange(images) % 2
    dark = torch.zeros(6, 1, 4, 4, dtype=torch.uint8)
    return LoadedData(
        name="pictures", task="classification", outputs=2, input_shape=(1, 4, 4), fingerprint="",
        train=Split(dark, torch.arange(6) % 2), validation=None, test=Split(x, y),
        input_low=-1.0, input_high=1.0, pixel_max=255,
    )  # fmt: skip


class Weighed(nn.Module):
    """Logits that are weighted sums of pixels; drops everything while training."""

    def __init__(self, zero: Tensor, one: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", torch.stack([zero, one]).flatten(1))
        self.dropout = nn.Dropout(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x.flatten(1) @ self.weights.T)


def test_shares_and_means_by_hand() -> None:
    # Against black, bright pixels differ by 2 and dark ones by 0: only the object can have values.
    # Class 0 weighs the first pixel of the object 1 and the second -3: values 2 and -6.
    zero, one = torch.zeros(4, 4), torch.zeros(4, 4)
    zero[1, 1], zero[1, 2], zero[0, 0] = 1.0, -3.0, 100.0
    masks = np.zeros((4, 4, 4), bool)
    masks[:, 1, :2] = True  # one bright pixel and a dark one
    model = Weighed(zero, one).train()
    found = attribute(model, pictures(), AttributionSettings(images=4), seed=1, masks=masks)
    assert model.dropout.training
    assert [(image.row, image.label) for image in found.images] == [(0, 0), (1, 1), (2, 0), (3, 1)]
    first, second = found.images[:2]
    assert first.share == pytest.approx(2 / 8)
    assert first.foreground == pytest.approx(2 / 2)
    assert first.background == pytest.approx(6 / 14)
    assert first.area == 2 / 16
    # the logit of class 1 is 0 everywhere: nothing to share out
    assert (second.share, second.foreground, second.background) == (None, 0.0, 0.0)
    assert found.background == 6
    assert found.completeness_error == pytest.approx(0, abs=1e-6)


def test_the_label_or_the_prediction_is_explained() -> None:
    zero, one = torch.zeros(4, 4), torch.zeros(4, 4)
    zero[0, 0], one[1, 1] = -1.0, 1.0  # both logits are 1 on every picture
    zero[1, 2] = 5.0  # class 0 is said of all
    model = Weighed(zero, one).eval()
    masks = np.zeros((4, 4, 4), bool)
    masks[:, 1, 1] = True
    shares = {}
    for explains in ("label", "predicted"):
        asked = AttributionSettings(images=4, explains=explains)
        found = attribute(model, pictures(), asked, seed=1, masks=masks)
        assert [image.predicted for image in found.images] == [0] * 4
        shares[explains] = [image.share for image in found.images]
    assert shares == {"label": [0.0, 1.0, 0.0, 1.0], "predicted": [0.0] * 4}


def test_without_masks_the_object_is_found_in_the_picture() -> None:
    zero = torch.zeros(4, 4)
    zero[1, 1] = 1.0
    found = attribute(Weighed(zero, zero).eval(), pictures(), AttributionSettings(images=2), seed=1)
    assert [(image.area, image.share) for image in found.images] == [(4 / 16, 1.0)] * 2


def test_a_picture_without_an_object_has_no_share() -> None:
    sizes = np.array([[1.0, 3.0], [0.0, 4.0]])
    nothing, everything = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    assert parted(sizes, nothing) == {
        "foreground": None, "background": 2.0, "share": None, "area": 0.0,
    }  # fmt: skip
    assert parted(sizes, everything) == {
        "foreground": 2.0, "background": None, "share": None, "area": 1.0,
    }  # fmt: skip


def test_masks_follow_the_size_of_inputs() -> None:
    small = np.array([[[True, False], [False, False]]])
    large = resized_masks(small, (4, 4))
    assert np.argwhere(large[0]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    np.testing.assert_array_equal(resized_masks(large, (2, 2)), small)


def test_the_choice_of_rows_is_stratified_and_nested() -> None:
    labels = torch.arange(40) % 4
    few, many = (chosen_rows(labels, n, 0, "attribution images") for n in (8, 20))
    assert np.bincount(labels[few]).tolist() == [2, 2, 2, 2]
    assert set(few) <= set(many)
    assert few.tolist() == sorted(few)
    assert len(chosen_rows(labels, 99, 0, "attribution images")) == 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": 0}, "images = 0: must be an integer from 1"),
        ({"background": 1.5}, r"background = 1.5"),
        ({"repeats": True}, "repeats = True"),
        ({"explains": "loss"}, "explains = 'loss': must be one of label, predicted"),
    ],
)
def test_bad_settings_are_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AttributionSettings(**change)


def test_other_data_and_masks_are_refused() -> None:
    model = Weighed(torch.zeros(4, 4), torch.zeros(4, 4))
    with pytest.raises(ValueError, match="must be images with classes"):
        attribute(model, replace(pictures(), pixel_max=None), AttributionSettings(), seed=1)
    masks = np.ones((3, 4, 4), bool)
    with pytest.raises(ValueError, match=r"\(3, 4, 4\): must be \(4, 4, 4\)"):
        attribute(model, pictures(), AttributionSettings(), seed=1, masks=masks)


# Through a worker


@pytest.fixture(scope="module")
def workshop() -> Workshop:
    return Workshop(torch.device("cpu"))


def asked(workshop: Workshop, seed: int = 3, **more: object) -> AttributeOutcome:
    network = build("digits", "small", (1, 8, 8), 10, "default", 5)
    settings = AttributionSettings(images=6, background=20)
    task = AttributeTask("t", DIGITS, "small", seed, settings)
    outcome = run_task(replace(task, **more), to_bytes(network.state_dict()), (), workshop)
    assert isinstance(outcome, AttributeOutcome)
    return outcome


def test_a_worker_answers_the_same_again_and_for_fewer_images(workshop: Workshop) -> None:
    found = asked(workshop)
    assert json.loads(json.dumps(found.points)) == list(found.points)
    assert asked(Workshop(torch.device("cpu"))).points == found.points
    few = asked(workshop, settings=AttributionSettings(images=3, background=20))
    alike = {point["row"]: point for point in found.points}
    assert [alike[point["row"]] for point in few.points] == list(few.points)
    other = asked(workshop, seed=4)
    assert [point["row"] for point in other.points] == [point["row"] for point in found.points]
    assert other.points != found.points
    assert found.background == 20
    settings = AttributionSettings(images=6, background=20, repeats=64)
    assert 0 < asked(workshop, settings=settings).completeness_error < found.completeness_error / 3


def test_masks_of_all_test_rows_are_taken(workshop: Workshop) -> None:
    rows = len(workshop.dataset(DIGITS).test)
    left = np.zeros((rows, 8, 8), bool)
    left[:, :, :4] = True
    shares = []
    for masks in (left, ~left):
        found = asked(workshop, masks=Masks.of(masks))
        assert {point["area"] for point in found.points} == {0.5}
        shares.append([point["share"] for point in found.points])
    assert np.add(*shares) == pytest.approx([1.0] * 6)
    with pytest.raises(ValueError, match="do not fit dataset 'digits'"):
        asked(workshop, masks=Masks.of(left[1:]))


def test_without_weights_there_is_nothing_to_look_into(workshop: Workshop) -> None:
    task = AttributeTask("t", DIGITS, "small", 3, AttributionSettings())
    with pytest.raises(ValueError, match="trial t has no weights"):
        run_task(task, None, (), workshop)
