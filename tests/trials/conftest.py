"""One thread, as in a worker, and registries that forget what a test registers."""

from collections.abc import Iterator

import pytest
import torch

from data import catalog as datasets
from models import catalog as networks
from tests.trials import toys


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_ENTRIES", dict(datasets._ENTRIES))
    monkeypatch.setattr(networks, "_entries", dict(networks._entries))
    toys.register()
