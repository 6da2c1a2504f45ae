"""The networks that can be named: what each takes and gives, and where its file comes from. Data only."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from cohortseg.errors import SettingsError
from cohortseg.settings.fields import NAME_PATTERN, FrozenModel
from cohortseg.settings.load import describe_faults

Family = Literal["residual-unet", "cellpose4"]

OWN_NETWORKS_FILE = "models.yaml"
"""File of the model folder in which a laboratory names networks of its own."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_OURS = re.compile(r".*\.(part|json|yaml|yml|lock)", re.IGNORECASE)


def is_allowed_url(url: str) -> bool:
    """Tell whether a file may be downloaded from an address: https, or http on this very machine; no password in it."""
    try:
        parts = urlsplit(url)
        host, safe = parts.hostname, parts.username is None and parts.password is None
    except ValueError:  # a malformed host or port
        return False
    if not host or not safe:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)


def _checked_url(url: str) -> str:
    if not is_allowed_url(url) or not urlsplit(url).path.strip("/"):
        raise PydanticCustomError("url", "Input should be the https address of a file (http on this machine only)")
    return url


def _checked_file(name: str) -> str:
    if _OURS.fullmatch(name):
        raise PydanticCustomError("file", "Input should be a name that does not end as records and settings do")
    return name


def _words(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Url = Annotated[str, AfterValidator(_checked_url)]
FileName = Annotated[str, Field(pattern=NAME_PATTERN, max_length=200), AfterValidator(_checked_file)]
"""A file in the model folder itself: a plain name, so that it cannot lead out of it."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Words = Annotated[tuple[str, ...], BeforeValidator(_words), Field(min_length=1)]


class OwnNetwork(FrozenModel):
    """A network of models.yaml."""

    family: Family
    file_name: FileName
    channels: Words = Field(description="What its inputs show, in the network's order.")
    diameter_px: float = Field(gt=0, le=1000, description="Diameter of a cell in the pixels it was trained on.")
    modality: str = Field(min_length=1, max_length=200)
    licence: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=1000)
    url: Url | None = None
    sha256: Sha256 | None = None
    size_model: FileName | None = Field(default=None, description="Its size model, a file beside it.")


class NetworkEntry(OwnNetwork):
    """A network that can be named."""

    name: str
    built_in: bool = False

    @property
    def size_model_url(self) -> str | None:
        """Address of the size model: beside the checkpoint."""
        if self.url is None or self.size_model is None:
            return None
        return f"{self.url.rpartition('/')[0]}/{self.size_model}"


def _cellpose3(name: str, file_name: str, *, channels: tuple[str, ...], diameter_px: float, what: str) -> NetworkEntry:
    return NetworkEntry(
        name=name,
        family="residual-unet",
        file_name=file_name,
        channels=channels,
        diameter_px=diameter_px,
        modality="fluorescence",
        licence="BSD-3-Clause code, CC-BY-NC training data",
        description=what,
        url=f"https://www.cellpose.org/models/{file_name}",
        size_model=f"size_{file_name}.npy",
    )


def _cellpose4(name: str, *, licence: str, what: str) -> NetworkEntry:
    return NetworkEntry(
        name=name,
        family="cellpose4",
        file_name=name,
        channels=("any", "any", "any"),
        diameter_px=30.0,
        modality="any",
        licence=licence,
        description=what,
        url=f"https://huggingface.co/mouseland/cellpose-sam/resolve/main/{name}",
    )


_CYTOPLASM = ("cytoplasm", "nuclei or nothing")
_SAM_LICENCE = "BSD-3-Clause code, CC-BY-NC training data"
_DINO_LICENCE = f"{_SAM_LICENCE}, DINOv3 License"

_ENTRIES = (
    NetworkEntry(
        name="nuclei-mini",
        built_in=True,
        family="residual-unet",
        file_name="nuclei-mini.pt",
        channels=("nuclei",),
        diameter_px=20.0,
        modality="fluorescence, histology",
        licence="BSD-3-Clause, CC0 training data",
        description="Small network for nuclei; comes with cohortseg.",
    ),
    _cellpose3(
        "cyto", "cytotorch_0", channels=_CYTOPLASM, diameter_px=30.0, what="Cells, the first network of Cellpose 1."
    ),
    _cellpose3(
        "cyto2", "cyto2torch_0", channels=_CYTOPLASM, diameter_px=30.0, what="Cells, with images that users gave."
    ),
    _cellpose3("cyto3", "cyto3", channels=_CYTOPLASM, diameter_px=30.0, what="Cells and nuclei, of Cellpose 3."),
    _cellpose3("nuclei", "nucleitorch_0", channels=("nuclei",), diameter_px=17.0, what="Nuclei, of Cellpose 1."),
    _cellpose4("cpsam", licence=_SAM_LICENCE, what="Cellpose-SAM, 305 million parameters; a GPU is advised."),
    _cellpose4("cpsam_v2", licence=_SAM_LICENCE, what="Cellpose-SAM, its second training."),
    _cellpose4("cpdino", licence=_DINO_LICENCE, what="Cellpose 4 with DINOv3 ViT-L; needs the package dinov3."),
    _cellpose4("cpdino-vitb", licence=_DINO_LICENCE, what="Cellpose 4 with DINOv3 ViT-B; needs the package dinov3."),
)

REGISTRY: Mapping[str, NetworkEntry] = {entry.name: entry for entry in _ENTRIES}
"""Networks that cohortseg knows, by name."""

BUILT_IN = tuple(entry.name for entry in _ENTRIES if entry.built_in)
"""Networks that come with the package."""


def read_own_networks(content: Mapping[str, Any], where: str) -> dict[str, NetworkEntry]:
    """Return the networks of a models.yaml by name.

    Parameters
    ----------
    content
        `networks`, a block for each network by its name.
    where
        What the message calls the file.

    Raises
    ------
    SettingsError
        Lists everything that is wrong: unknown keys, files outside of the model folder, addresses without https, names
        that cohortseg's own networks have.
    """
    blocks = content.get("networks")
    faults = [f"{key}: unknown key; allowed: networks" for key in content if key != "networks"]
    if not isinstance(blocks, Mapping):
        faults.append("networks: a block of names was expected")
        blocks = {}
    found: dict[str, NetworkEntry] = {}
    for name, block in blocks.items():
        wrong = _name_faults(name)
        try:
            own = TypeAdapter(OwnNetwork).validate_python(block)
            if not wrong:
                found[name] = NetworkEntry(name=name, **own.model_dump())
        except ValidationError as error:
            wrong += [f"{key}: {text}" for key, text in describe_faults(OwnNetwork, error)]
        faults += [f"networks.{name}: {text}" for text in wrong]
    if faults:
        noun = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise SettingsError(
            f"{where} has {noun}",
            "each has to be put right:\n  " + ".\n  ".join(faults),
            "\nCorrect the file; config/README.md, Networks, explains its keys.",
        )
    return found


def _name_faults(name: object) -> list[str]:
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        return ["a name of letters, digits, '.', '_' and '-' was expected"]
    return ["cohortseg has a network of this name; give it another"] if name in REGISTRY else []
