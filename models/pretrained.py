"""Weights that others trained, or that lie in a file, as the start of a network with a new head.

torchvision's weights are read through torchvision, which downloads them once and checks their hash;
which files they are is written down here, so that a trial's identity is known without torch and
without the file. Nothing is unpickled but tensors.

The published networks saw images standardised by ImageNet's mean and deviation of each channel. That
is a matter of the data, not of this module.
"""

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.alignment import HEADS
from models.catalog import ModelEntry
from models.sized import Transformer, Vision

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET = "imagenet"
"""Short for torchvision's `IMAGENET1K_V1`, which all of its networks have."""

SUFFIXES = (".safetensors", ".pth", ".pt")
"""Of weight files."""


class PretrainedError(ValueError):
    """Weights that cannot be had or do not fit; says which, and what to do."""


@dataclass(frozen=True)
class Published:
    """torchvision's weights for a network.

    Attributes:
        builder: torchvision's name of the network.
        collection: torchvision's name of its weights.
        files: by the name of the weights; the last eight digits are those the content's SHA-256
            begins with.
    """

    builder: str
    collection: str
    files: Mapping[str, str]


PUBLISHED: dict[str, Published] = {
    "resnet18": Published(
        "resnet18", "ResNet18_Weights", {"IMAGENET1K_V1": "resnet18-f37072fd.pth"}
    ),
    "resnet50": Published(
        "resnet50",
        "ResNet50_Weights",
        {"IMAGENET1K_V1": "resnet50-0676ba61.pth", "IMAGENET1K_V2": "resnet50-11ad3fa6.pth"},
    ),
    "wide-resnet50-2": Published(
        "wide_resnet50_2",
        "Wide_ResNet50_2_Weights",
        {
            "IMAGENET1K_V1": "wide_resnet50_2-95faca4d.pth",
            "IMAGENET1K_V2": "wide_resnet50_2-9ba9bcbe.pth",
        },
    ),
    "mobilenetv3-small": Published(
        "mobilenet_v3_small",
        "MobileNet_V3_Small_Weights",
        {"IMAGENET1K_V1": "mobilenet_v3_small-047dcff4.pth"},
    ),
    "vit-b16": Published(
        "vit_b_16",
        "ViT_B_16_Weights",
        {
            "IMAGENET1K_V1": "vit_b_16-c867db91.pth",
            "IMAGENET1K_SWAG_E2E_V1": "vit_b_16_swag-9ac1b537.pth",
            "IMAGENET1K_SWAG_LINEAR_V1": "vit_b_16_lc_swag-4e70ced5.pth",
        },
    ),
}
"""By the network's name without suffixes."""


def identity(entry: ModelEntry, source: str) -> str:
    """What a source of weights means, for the identity of what is trained from them.

    Args:
        entry: the network that takes them.
        source: `imagenet`, a name of torchvision's weights such as `IMAGENET1K_V2`, or a weight
            file of our own, `.safetensors`, `.pth` or `.pt`.

    Returns:
        torchvision's name of the weights and the first digits of their hash, such as
        `ResNet18_Weights.IMAGENET1K_V1-f37072fd`, or `sha256:` and the hash of the file.

    Raises:
        PretrainedError: an unknown source, weights of another network, or no such file.
    """
    if _is_file(source):
        return f"sha256:{_sha256(_existing(source))}"
    known, name = _published(entry, source)
    return f"{known.collection}.{name}-{_digits(known.files[name])}"


def located(source: str) -> str:
    """The same source in words that mean it wherever they are read: a file by its absolute path."""
    return str(Path(source).expanduser().absolute()) if _is_file(source) else source


def written(source: str) -> tuple[int, int] | None:
    """When a file was last written, in ns, and its bytes; None of published weights."""
    if not _is_file(source):
        return None
    status = _existing(source).stat()
    return status.st_mtime_ns, status.st_size


def check(entry: ModelEntry, input_shape: tuple[int, ...], source: str) -> None:
    """Whether a network on a dataset can take weights, as far as can be told without them.

    Args:
        entry: the network.
        input_shape: of one input of the dataset.
        source: see `identity`.

    Raises:
        PretrainedError: it cannot.
    """
    if _is_file(source):
        _existing(source)
        return
    _published(entry, source)
    if input_shape[0] != 3:
        raise PretrainedError(
            f"pretrained = {source!r}: {entry.name!r} would take inputs of shape {input_shape}, "
            "these weights are for images of 3 channels"
        )


def load(network: "nn.Module", entry: ModelEntry, source: str, head: str = "new") -> None:
    """Puts weights into a network, which is left as it was if they do not fit.

    The positions of a Vision Transformer for images of another size are interpolated
    (`torchvision.models.vision_transformer.interpolate_embeddings`). Nothing else is adapted.

    Args:
        network: of the entry, on the CPU.
        entry: its entry in the catalogue.
        source: see `identity`.
        head: `new` keeps the network's own output layer, whatever the source has; `source` takes
            the source's, which must have its size.

    Raises:
        PretrainedError: the weights cannot be had, or do not fit; names the first that does not.
        ValueError: an unknown head.
    """
    if head not in HEADS:
        raise ValueError(f"head = {head!r}: must be one of {', '.join(HEADS)}")
    state = _read_file(source) if _is_file(source) else _read_published(entry, source)
    _put(network, state, f"pretrained = {source!r} for {entry.name!r}", head)


def _is_file(source: str) -> bool:
    return source.endswith(SUFFIXES)


def _existing(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.is_file():
        raise PretrainedError(
            f"pretrained = {source!r}: there is no such file; it is looked for at {path.absolute()}"
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digits(file: str) -> str:
    return Path(file).stem.rpartition("-")[2]


def _published(entry: ModelEntry, source: str) -> tuple[Published, str]:
    """The weights of torchvision for a network, and which of them.

    Raises:
        PretrainedError: there are none.
    """
    build = entry.build
    kind = build.kind if isinstance(build, Vision | Transformer) else entry.name
    known = PUBLISHED.get(kind)
    files = f"a weight file ({', '.join(SUFFIXES)})"
    if known is None:
        raise PretrainedError(
            f"pretrained = {source!r}: {entry.name!r} has no published weights; allowed are {files} "
            f"or, for {', '.join(PUBLISHED)}, {IMAGENET!r}"
        )
    name = "IMAGENET1K_V1" if source == IMAGENET else source
    if name not in known.files:
        raise PretrainedError(
            f"pretrained = {source!r}: for {entry.name!r} allowed are {IMAGENET!r}, "
            f"{', '.join(map(repr, known.files))}, or {files}"
        )
    if isinstance(build, Vision) and build.small_stem and kind != "mobilenetv3-small":
        raise PretrainedError(
            f"pretrained = {source!r}: {entry.name!r} begins with a 3x3 convolution, these weights "
            f"with one of 7x7; allowed is {kind!r}"
        )
    return known, name


def _read_published(entry: ModelEntry, source: str) -> "dict[str, Tensor]":
    import pickle

    import torch
    import torchvision.models

    known, name = _published(entry, source)
    file = known.files[name]
    weights: Any = torchvision.models.get_model_weights(known.builder)[name]
    if Path(weights.url).name != file:
        raise PretrainedError(
            f"pretrained = {source!r}: this torchvision reads {weights.url} for it, not {file}"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    # What is there already is not checked by torch.
    if path.exists() and not _sha256(path).startswith(_digits(file)):
        raise PretrainedError(
            f"pretrained = {source!r}: {path} is damaged: its SHA-256 does not begin with "
            f"{_digits(file)}; delete it and it is downloaded again"
        )
    try:
        state: dict[str, Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except pickle.UnpicklingError as error:
        raise PretrainedError(f"pretrained = {source!r}: {path}: not weights: {error}") from error
    except (OSError, RuntimeError) as error:
        raise PretrainedError(
            f"pretrained = {source!r}: could not get {file} from {weights.url} ({error}); download "
            f"it elsewhere and put it at {path} (the environment variable TORCH_HOME moves this "
            "place)"
        ) from error
    return state


def _read_file(source: str) -> "dict[str, Tensor]":
    import pickle

    import safetensors.torch
    import torch
    from safetensors import SafetensorError

    path = _existing(source)
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise PretrainedError(f"pretrained = {source!r}: not a weight file: {error}") from error
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise PretrainedError(
            f"pretrained = {source!r}: must hold a state dict, tensors by name, and nothing else"
        )
    return dict(state)


def _put(network: "nn.Module", state: "Mapping[str, Tensor]", what: str, head: str) -> None:
    import torch
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    from models.head import head_name

    own = network.state_dict()
    merged = OrderedDict(state)
    if head == "new":
        output = head_name(network)
        for key in [*merged]:
            if key.rpartition(".")[0] == output:
                del merged[key]
        merged.update((k, v) for k, v in own.items() if k.rpartition(".")[0] == output)
    for key, value in merged.items():
        if not torch.isfinite(value).all():
            raise PretrainedError(f"{what}: {key}: holds numbers that are NaN or infinite")
    positions = "encoder.pos_embedding"
    if isinstance(network, VisionTransformer) and positions in merged:
        there, here = merged[positions].shape, own[positions].shape
        if len(there) == 3 and there[1] != here[1] and there[2] == here[2]:
            merged = interpolate_embeddings(network.image_size, network.patch_size, merged)
    for key, like in own.items():
        if key in merged and merged[key].shape != like.shape:
            raise PretrainedError(
                f"{what}: {key}: the weights have the shape {tuple(merged[key].shape)}, the "
                f"network {tuple(like.shape)}"
            )
    # torch knows how names of earlier versions are to be read. It copies before it complains.
    twin = copy.deepcopy(network)
    try:
        twin.load_state_dict(merged, strict=True)
    except RuntimeError as error:
        raise PretrainedError(f"{what}: {' '.join(str(error).split())}") from error
    network.load_state_dict(twin.state_dict())
