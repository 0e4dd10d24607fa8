import copy
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import models
from models.initialise import build
from models.pretrained import PUBLISHED, PretrainedError, Published, check, identity, load

GREY = (1, 8, 8)
VIT = "vit-p4-w8-d1-h2"


def network(
    name: str, outputs: int = 10, shape: tuple[int, ...] = GREY, seed: int = 1
) -> nn.Module:
    return build("any", name, shape, outputs, "default", seed)


def state(module: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(module.state_dict())


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def is_head(key: str, head: str) -> bool:
    return key.startswith(f"{head}.")


# Files of one's own


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt"])
@pytest.mark.parametrize(("name", "head"), [("small", "fc2"), (VIT, "heads.head")])
def test_everything_but_the_head_is_the_files(
    tmp_path: Path, suffix: str, name: str, head: str
) -> None:
    path = tmp_path / f"weights.{suffix}"
    there = state(build("digits", name, GREY, 10, "he", 7))
    if suffix == "safetensors":
        save_file(there, path)
    else:
        torch.save(there, path)
    module = build("digits", name, GREY, 4, "default", 1)
    start = state(module)
    body = "conv1.weight" if name == "small" else "conv_proj.weight"
    assert not torch.equal(start[body], there[body])
    load(module, models.get("digits", name), str(path))
    for key, value in module.state_dict().items():
        assert torch.equal(value, (start if is_head(key, head) else there)[key])


def test_the_files_head_too_where_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    source = network("mlp-4", seed=7)
    save_file(source.state_dict(), path)
    entry, module = models.get("any", "mlp-4"), network("mlp-4")
    load(module, entry, str(path), head="source")
    assert equal(module.state_dict(), source.state_dict())
    with pytest.raises(PretrainedError, match=r"fc2\.weight: .*\(10, 4\), the network \(3, 4\)"):
        load(network("mlp-4", 3), entry, str(path), head="source")
    with pytest.raises(ValueError, match="head = 'old'"):
        load(module, entry, str(path), head="old")


def test_a_file_without_a_head_is_enough_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "body.pth"
    there = {k: v for k, v in network("mlp-4", seed=7).state_dict().items() if "fc2" not in k}
    torch.save(there, path)
    module = network("mlp-4")
    load(module, models.get("any", "mlp-4"), str(path))
    assert torch.equal(module.get_parameter("fc1.weight"), there["fc1.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fc1.weight": torch.zeros(5, 64)}, r"fc1\.weight: .*\(5, 64\), the network \(4, 64\)"),
        ({"fc1.bias": torch.full((4,), torch.nan)}, r"fc1\.bias: holds numbers that are NaN"),
        ({"fc7.bias": torch.zeros(4)}, r"Unexpected key.*fc7\.bias"),
        ({"fc1.bias": None}, r"Missing key.*fc1\.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name_and_change_nothing(
    tmp_path: Path, changes: dict[str, Tensor | None], message: str
) -> None:
    path = tmp_path / "weights.pth"
    there = {**network("mlp-4", seed=7).state_dict(), **changes}
    torch.save({key: value for key, value in there.items() if value is not None}, path)
    module = network("mlp-4", 3)
    start = state(module)
    with pytest.raises(PretrainedError, match=message):
        load(module, models.get("any", "mlp-4"), str(path))
    assert equal(module.state_dict(), start)


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, (str(self.folder),))


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    path, folder = tmp_path / "weights.pth", tmp_path / "made"
    torch.save({"fc1.weight": Harmful(folder)}, path)
    with pytest.raises(PretrainedError, match="not a weight file"):
        load(network("mlp-4"), models.get("any", "mlp-4"), str(path))
    assert not folder.exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": 1.0}, {1: torch.zeros(1)}])
def test_files_that_hold_anything_but_tensors_by_name_are_refused(
    tmp_path: Path, content: object
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(PretrainedError, match="must hold a state dict"):
        load(network("mlp-4"), models.get("any", "mlp-4"), str(path))


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("content", [b"", b"no weights at all"])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(PretrainedError, match="not a weight file"):
        load(network("mlp-4"), models.get("any", "mlp-4"), str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    entry, missing = models.get("any", "mlp-4"), str(tmp_path / "none.pth")
    for ask in (
        lambda: identity(entry, missing),
        lambda: check(entry, GREY, missing),
        lambda: load(network("mlp-4"), entry, missing),
    ):
        with pytest.raises(PretrainedError, match=r"no such file.*none\.pth"):
            ask()


def test_positions_of_a_transformer_for_larger_images_are_interpolated(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    source = network(VIT, seed=7)
    with torch.no_grad():
        positions = source.get_parameter("encoder.pos_embedding")
        # The class token's, then a 2x2 grid whose value is the row.
        positions[0, :, :] = torch.tensor([9.0, 0.0, 0.0, 1.0, 1.0])[:, None]
    torch.save(source.state_dict(), path)
    module = network(VIT, 3, shape=(1, 12, 12))
    load(module, models.get("any", VIT), str(path))
    # On a 3x3 grid the corners stay where they were and the middle row is halfway.
    found = module.get_parameter("encoder.pos_embedding")[0, :, 0]
    assert found.tolist() == pytest.approx([9, 0, 0, 0, 0.5, 0.5, 0.5, 1, 1, 1], abs=1e-6)


# Identity


def test_identity_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    entry = models.get("any", "mlp-4")
    first, second = tmp_path / "a.pth", tmp_path / "b.safetensors"
    first.write_bytes(b"abc")
    second.write_bytes(b"abc")
    # The example of FIPS 180-2, appendix B.1.
    expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert identity(entry, str(first)) == identity(entry, str(second)) == expected


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("resnet18", "imagenet", "ResNet18_Weights.IMAGENET1K_V1-f37072fd"),
        ("resnet18-dropout20", "IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1-f37072fd"),
        ("resnet50", "IMAGENET1K_V2", "ResNet50_Weights.IMAGENET1K_V2-11ad3fa6"),
        ("wide-resnet50-2", "imagenet", "Wide_ResNet50_2_Weights.IMAGENET1K_V1-95faca4d"),
        ("mobilenetv3-small-3x3", "imagenet", "MobileNet_V3_Small_Weights.IMAGENET1K_V1-047dcff4"),
        ("vit-b16", "imagenet", "ViT_B_16_Weights.IMAGENET1K_V1-c867db91"),
    ],
)
def test_identity_of_published_weights(name: str, source: str, expected: str) -> None:
    assert identity(models.get("any", name), source) == expected


def test_the_files_written_down_are_those_of_torchvision() -> None:
    import torchvision.models

    for known in PUBLISHED.values():
        weights = torchvision.models.get_model_weights(known.builder)
        assert weights.__name__ == known.collection
        theirs = {w.name: Path(w.url).name for w in weights}
        assert theirs == known.files


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        (
            "resnet18",
            "DEFAULT",
            r"'DEFAULT': for 'resnet18' allowed are 'imagenet', 'IMAGENET1K_V1'",
        ),
        ("resnet18", "IMAGENET1K_V2", "allowed are 'imagenet', 'IMAGENET1K_V1', or a weight file"),
        ("mlp-4", "imagenet", r"'mlp-4' has no published weights; allowed are a weight file"),
        ("vit-p4-w8-d1-h2", "imagenet", "has no published weights"),
        ("resnet50-3x3", "imagenet", r"3x3 convolution, .* 7x7; allowed is 'resnet50'"),
        ("wide-resnet50-2-3x3-dropout5", "imagenet", "allowed is 'wide-resnet50-2'"),
    ],
)
def test_sources_that_a_network_cannot_have_are_refused(
    name: str, source: str, message: str
) -> None:
    entry = models.get("any", name)
    with pytest.raises(PretrainedError, match=message):
        identity(entry, source)
    with pytest.raises(PretrainedError, match=message):
        check(entry, (3, 32, 32), source)


def test_grey_images_are_refused_before_anything_is_built() -> None:
    with pytest.raises(
        PretrainedError, match=r"\(1, 28, 28\), these weights are for .* 3 channels"
    ):
        check(models.get("any", "resnet18"), (1, 28, 28), "imagenet")
    check(models.get("any", "resnet18"), (3, 32, 32), "imagenet")


def test_identity_is_known_without_torch() -> None:
    code = (
        "import models, sys\n"
        "from models.pretrained import check, identity\n"
        "identity(models.get('cifar10', 'resnet18'), 'imagenet')\n"
        "check(models.get('cifar10', 'resnet18'), (3, 32, 32), 'imagenet')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# torchvision's own way, with a small network in the place of its large ones


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's folder of downloads, empty, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "urlopen", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def publish(monkeypatch: pytest.MonkeyPatch, path: Path, content: dict[str, Tensor]) -> Path:
    """Makes a state the published weights of a small transformer, in a file as torch names them."""
    import torchvision.models
    from torchvision.models import Weights, WeightsEnum

    torch.save(content, path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path = path.rename(path.with_name(f"tiny-{digits}.pth"))
    weights = Weights(f"https://download.pytorch.org/models/{path.name}", lambda: None, {})

    class TinyWeights(WeightsEnum):
        IMAGENET1K_V1 = weights

    published = Published("tiny", "TinyWeights", {"IMAGENET1K_V1": path.name})
    monkeypatch.setitem(PUBLISHED, VIT, published)
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: TinyWeights)
    return path


def test_weights_are_read_where_torch_keeps_its_downloads(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = network(VIT, 1000, seed=7).state_dict()
    # As torchvision's published transformers are: with the names of an earlier version.
    old = {
        key.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): value
        for key, value in there.items()
    }
    assert old.keys() != there.keys()
    path = publish(monkeypatch, hub / "fake.pth", old)
    entry = models.get("any", f"{VIT}-dropout20")
    module = network(f"{VIT}-dropout20", 10)
    start = state(module)
    load(module, entry, "imagenet")
    for key, value in module.state_dict().items():
        assert torch.equal(value, (start if is_head(key, "heads.head") else there)[key])
    assert identity(entry, "imagenet") == f"TinyWeights.IMAGENET1K_V1-{path.stem[-8:]}"


def test_a_damaged_download_is_refused(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = publish(monkeypatch, hub / "fake.pth", network(VIT).state_dict())
    torch.save(network(VIT, seed=2).state_dict(), path)
    with pytest.raises(PretrainedError, match=r"tiny-.* is damaged: .*delete it"):
        load(network(VIT), models.get("any", VIT), "imagenet")


def test_without_network_and_file_the_message_says_what_to_do(hub: Path) -> None:
    with torch.device("meta"):
        module = models.get("any", "resnet18").make((3, 32, 32), 10)
    with pytest.raises(PretrainedError) as caught:
        load(module, models.get("any", "resnet18"), "imagenet")
    for part in (
        "resnet18-f37072fd.pth",
        "https://download.pytorch.org/models/",
        str(hub / "resnet18-f37072fd.pth"),
        "TORCH_HOME",
        "Name or service not known",
    ):
        assert part in str(caught.value)


def test_other_weights_under_the_same_name_are_refused(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, hub / "fake.pth", network(VIT).state_dict())
    other = Published("tiny", "TinyWeights", {"IMAGENET1K_V1": "tiny-00000000.pth"})
    monkeypatch.setitem(PUBLISHED, VIT, other)
    with pytest.raises(PretrainedError, match=r"this torchvision reads .*, not tiny-00000000\.pth"):
        load(network(VIT), models.get("any", VIT), "imagenet")
