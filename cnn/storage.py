"""Named arrays and a description in one safetensors file, whole and undamaged or refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as safetensors_bytes

from cnn.arrays import AnyArray
from cnn.files import replacing

FORMAT_VERSION = 1
KEY = "cnn_kernels"  # one entry for all, since safetensors writes several in random order


class StorageError(ValueError):
    """A file cannot be read, is damaged, or comes from elsewhere; the message names it."""

    what = "file"


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, AnyArray],
    about: Mapping[str, Any],
    *,
    durable: bool = False,
) -> None:
    """Write arrays and what can be said of them in JSON, with a checksum of both.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write or replace; it appears whole or not at all.
    arrays : mapping of names to arrays
        C-contiguous.
    about : mapping
        Ready for JSON.
    durable : bool
        Wait until the disk has it, so that not even a power failure takes the old file and the
        new one.

    Raises
    ------
    OSError
        If the file cannot be written; an old one is still there then.
    """
    about = {"format": FORMAT_VERSION, **about}
    text = json.dumps({**about, "sha256": _digest(arrays, about)})
    content = safetensors_bytes(dict(arrays), {KEY: text})
    try:
        with replacing(path, durable=durable) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from error


def read(
    path: str | os.PathLike[str], failure: type[StorageError]
) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """Return the arrays and the description that :func:`write` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    failure : type of StorageError
        What to raise; its ``what`` says what the file has to be.

    Raises
    ------
    failure
        If the file is missing, cannot be read, is damaged or is not such a file.
    """
    name = os.fspath(path)
    arrays, text = _read(name, failure)
    if text is None:
        raise failure(f"{name}: not a {failure.what} of cnn-kernels (no metadata {KEY!r})")
    try:
        about = json.loads(text)
        if about["format"] != FORMAT_VERSION:
            raise ValueError(f"format must be {FORMAT_VERSION}, got {about['format']!r}")
        if about.pop("sha256") != _digest(arrays, about):
            raise ValueError("damaged: the contents do not match their checksum")
    except KeyError as error:
        raise failure(f"{name}: cannot be used (metadata has no {error})") from error
    except (TypeError, ValueError, RecursionError) as error:  # the last of JSON nested too deep
        raise failure(f"{name}: cannot be used ({error})") from error
    return arrays, about


def _read(name: str, failure: type[StorageError]) -> tuple[dict[str, AnyArray], str | None]:
    try:
        with open(name, "rb"):  # noqa: PTH123  (for the reason, which safetensors does not give)
            pass
        with safe_open(name, framework="np") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return arrays, (file.metadata() or {}).get(KEY)
    except OSError as error:
        raise failure(f"{name}: cannot be read ({error.strerror or error})") from error
    except (SafetensorError, TypeError, ValueError) as error:
        raise failure(f"{name}: not a whole safetensors file ({error})") from error


def _digest(arrays: Mapping[str, AnyArray], about: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.name} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
