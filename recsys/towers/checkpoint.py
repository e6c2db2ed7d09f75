"""Training state as artefact folders: safetensors and JSON, never pickle (RELIABILITY 3.1)."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys.domain.artefact import DISK, publish, sweep
from recsys.domain.errors import ArtefactError, MissingArtefactError
from recsys.domain.manifest import JSON
from recsys.domain.verify import open_artefact

KIND = "checkpoint"
_TENSORS, _STATE = "tensors.safetensors", "state.json"
_PLAIN = (str, bool, int, type(None))


def pack(state: object, tensors: dict[str, Tensor]) -> JSON:
    """Return plain JSON for a state; its tensors go into `tensors` under numbers.

    Raises:
        TypeError: the state holds something else than dicts with text or whole-number keys,
            lists, tuples, text, numbers, booleans, None and tensors.
    """
    match state:
        case Tensor():
            name = f"{len(tensors):06d}"
            tensors[name] = state.detach().cpu().contiguous()
            return {"tensor": name}
        case float():
            return state if math.isfinite(state) else {"float": repr(state)}
        case _ if isinstance(state, _PLAIN):
            return state
        case list():
            return [pack(value, tensors) for value in state]
        case tuple():
            return {"tuple": [pack(value, tensors) for value in state]}
        case Mapping():
            return {"dict": [[_key(k), pack(v, tensors)] for k, v in state.items()]}
        case _:
            raise TypeError(f"a checkpoint cannot hold a {type(state).__name__}")


def _key(key: object) -> str | int:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise TypeError(f"a checkpoint cannot hold a key of type {type(key).__name__}")
    return key


def unpack(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the state that `pack` took apart."""
    match plain:
        case list():
            return [unpack(value, tensors) for value in plain]
        case {"tensor": name}:
            return tensors[name]
        case {"float": text}:
            return float(text)
        case {"tuple": values}:
            return tuple(unpack(value, tensors) for value in values)
        case {"dict": items}:
            return {key: unpack(value, tensors) for key, value in items}
        case _:
            return plain


def save(
    root: Path, name: str, state: Mapping[str, Any], *, parents: Mapping[str, str], spec: JSON
) -> Path:
    """Publish a state below `root` as a folder that is whole or not there.

    Raises:
        NoRoomError: the disk is full; earlier checkpoints stand.
        DeviceError: the system refused a write; earlier checkpoints stand.
    """
    tensors: dict[str, Tensor] = {}
    plain = pack(state, tensors)

    def write(draft: Path) -> None:
        save_file(tensors, draft / _TENSORS)
        (draft / _STATE).write_text(json.dumps(plain, allow_nan=False), encoding="utf-8")

    size = sum(t.numel() * t.element_size() for t in tensors.values())
    return publish(root, KIND, write, name=name, bytes_needed=size, parents=parents, spec=spec)


def load(folder: Path) -> tuple[dict[str, Any], str]:
    """Verify a checkpoint; return its state and its fingerprint.

    Raises:
        MissingArtefactError: there is none.
        BrokenArtefactError: a file of it is damaged; the message names it.
    """
    manifest = open_artefact(folder, KIND)
    tensors = load_file(folder / _TENSORS)
    plain = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    return unpack(plain, tensors), manifest.fingerprint


def newest(root: Path, tell: Callable[[str], None] = lambda _: None) -> Path | None:
    """Return the newest checkpoint that verifies; broken ones are told of and stepped over."""
    for folder in sorted(root.glob("step-*"), reverse=True):
        try:
            open_artefact(folder, KIND)
        except MissingArtefactError:
            continue
        except ArtefactError as error:
            tell(str(error))
            continue
        return folder
    return None


def prune(root: Path, keep: set[str]) -> None:
    """Remove all checkpoints but the newest two and those named."""
    names = sorted(folder.name for folder in root.glob("step-*"))
    for name in names[:-2]:
        if name not in keep:
            # renamed first: a reader never meets half a folder
            DISK.rename(root / name, root / f".gone-{name}-{secrets.token_hex(4)}")
    sweep(root)
