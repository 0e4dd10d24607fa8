import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    confusion_matrix,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    r2_score,
)
from torch import Tensor

from trials import metrics


def test_classification_by_hand() -> None:
    # Predictions 0 1 1 0, true 0 1 0 1.
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    found = metrics.classification(logits, torch.tensor([0, 1, 0, 1]))
    # Cross-entropy of a two-class logit gap g to the right class: log(1 + exp(-g)).
    gaps = (2, 1, -3, -1)
    assert found.loss == pytest.approx(sum(math.log1p(math.exp(-g)) for g in gaps) / 4, rel=1e-9)
    assert found.accuracy_percent == 50.0
    assert found.metric == 50.0
    assert found.confusion == ((1, 1), (1, 1))
    assert found.precision == (0.5, 0.5)
    assert found.recall == (0.5, 0.5)
    assert found.f1 == (0.5, 0.5)
    assert found.support == (2, 2)
    assert (found.metric_name, found.better_is) == ("accuracy", "higher")


def test_classes_never_seen_or_never_predicted_count_0() -> None:
    # True 0 0 0 1, predicted 0 0 2 0; class 3 appears nowhere.
    logits = torch.eye(4)[[0, 0, 2, 0]]
    found = metrics.classification(logits, torch.tensor([0, 0, 0, 1]))
    assert found.confusion == ((2, 0, 1, 0), (1, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
    assert found.precision == (2 / 3, 0, 0, 0)
    assert found.recall == (2 / 3, 0, 0, 0)
    assert found.f1 == (2 / 3, 0, 0, 0)
    assert found.support == (3, 1, 0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_classification_agrees_with_scikit_learn(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(300, 7, generator=g)
    labels = torch.randint(0, 6, (300,), generator=g)  # class 6 is never true
    found = metrics.classification(logits, labels)
    truth, predicted = labels.numpy(), logits.argmax(1).numpy()
    classes = list(range(7))
    expected = precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0)
    for ours, theirs in zip(
        (found.precision, found.recall, found.f1, found.support), expected, strict=True
    ):
        assert ours == pytest.approx(theirs, rel=1e-12)
    assert found.confusion == tuple(
        map(tuple, confusion_matrix(truth, predicted, labels=classes).tolist())
    )
    probabilities = logits.double().softmax(1).numpy()
    assert found.loss == pytest.approx(log_loss(truth, probabilities, labels=classes), rel=1e-9)


def test_accuracy_is_the_number_a_reader_would_write() -> None:
    # 10,000 samples of which 5,307 are correct: 53.07, not 53.070000000000004.
    labels = torch.zeros(10_000, dtype=torch.int64)
    logits = torch.zeros(10_000, 2)
    logits[5307:, 1] = 1
    assert metrics.classification(logits, labels).accuracy_percent == 53.07


def test_narrow_label_types_do_not_overflow() -> None:
    labels = torch.tensor([99, 50, 3], dtype=torch.uint8)
    found = metrics.classification(torch.eye(100)[[99, 50, 3]], labels)
    assert found.accuracy_percent == 100.0
    assert [c for c in range(100) if found.confusion[c][c]] == [3, 50, 99]


def test_a_diverged_classifier_gives_nan() -> None:
    found = metrics.classification(torch.full((2, 3), float("nan")), torch.tensor([0, 1]))
    assert math.isnan(found.loss)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0), "1 or more"),
        (torch.zeros(4), torch.zeros(4), r"must be \(samples, classes\)"),
        (torch.zeros(4, 3), torch.zeros(3), r"labels \(3,\)"),
        (torch.zeros(4, 3), torch.zeros(4, 1), r"labels \(4, 1\)"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "labels from 0 to 3: must be from 0 to 2"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "labels from -1 to 0"),
    ],
)
def test_bad_classification_is_refused(logits: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.classification(logits, labels)


def test_regression_by_hand() -> None:
    # Errors 1, -1, 2, 0; targets' mean 2.5, their squared deviations sum to 5.
    targets = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    found = metrics.regression(torch.tensor([[2.0], [1.0], [5.0], [4.0]]), targets)
    assert found.mse == 6 / 4
    assert found.mae == 4 / 4
    assert found.r2 == pytest.approx(1 - 6 / 5, rel=1e-12)
    assert (found.metric, found.loss) == (1.5, 1.5)
    assert (found.metric_name, found.better_is) == ("mse", "lower")


@pytest.mark.parametrize("columns", [1, 3])
def test_regression_agrees_with_scikit_learn(columns: int) -> None:
    g = torch.Generator().manual_seed(columns)
    targets = torch.randn(200, columns, generator=g)
    outputs = targets + 0.4 * torch.randn(200, columns, generator=g)
    found = metrics.regression(outputs, targets)
    pair = targets.double().numpy(), outputs.double().numpy()
    assert found.mse == pytest.approx(mean_squared_error(*pair), rel=1e-12)
    assert found.mae == pytest.approx(mean_absolute_error(*pair), rel=1e-12)
    assert found.r2 == pytest.approx(r2_score(*pair), rel=1e-12)


def test_r2_of_constant_targets() -> None:
    constant = torch.full((3, 1), 2.0)
    assert metrics.regression(constant, constant).r2 == 1.0
    assert metrics.regression(constant + 1, constant).r2 == 0.0


def test_a_diverged_regression_gives_nan() -> None:
    found = metrics.regression(torch.tensor([[float("nan")], [0.0]]), torch.tensor([[1.0], [2.0]]))
    assert math.isnan(found.mse)
    assert math.isnan(found.mae)
    assert math.isnan(found.r2)


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [((4, 1), (4,)), ((4,), (4,)), ((4, 1), (1, 4)), ((0, 1), (0, 1)), ((4, 2), (4, 1))],
)
def test_regression_never_broadcasts(outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must both be"):
        metrics.regression(torch.zeros(outputs), torch.zeros(targets))


def test_task_chooses_the_figures() -> None:
    one = torch.ones(2, 1)
    assert metrics.of("regression", one, one).metric == 0.0
    assert metrics.of("classification", one, torch.zeros(2, dtype=torch.int64)).metric == 100.0
    with pytest.raises(ValueError, match="task = 'ranking'"):
        metrics.of("ranking", one, one)  # type: ignore[arg-type]


@given(st.integers(1, 300), st.integers(2, 12), st.integers(0, 2**32))
def test_the_headline_of_a_classifier_is_that_of_all_its_figures_to_the_bit(
    samples: int, classes: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, classes, generator=generator)
    labels = torch.randint(classes, (samples,), generator=generator)
    whole = metrics.of("classification", logits, labels)
    assert metrics.headline("classification", logits, labels).tolist() == [
        whole.metric, whole.loss
    ]  # fmt: skip


@given(st.integers(1, 300), st.integers(1, 3), st.integers(0, 2**32))
def test_the_headline_of_a_regression_is_that_of_all_its_figures_to_the_bit(
    samples: int, targets: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs, truth = torch.randn(2, samples, targets, generator=generator).unbind()
    whole = metrics.of("regression", outputs, truth)
    assert metrics.headline("regression", outputs, truth).tolist() == [whole.mse, whole.mse]


def test_which_way_is_better() -> None:
    assert metrics.higher_is_better("classification")
    assert not metrics.higher_is_better("regression")
