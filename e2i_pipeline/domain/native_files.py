"""scikit-learn objects as skops bytes: no pickle, a reviewed list of types, and the same bytes for the same object.

What is stored belongs to `encoding` and `learners`; where it is stored belongs to the resources.
"""

# skops ships no types.
# pyright: reportMissingTypeStubs=false

import io
import re
import zipfile
from collections.abc import Sequence
from typing import Any

from e2i_pipeline.errors import ToolRejected

TRUSTED_TYPES: tuple[str, ...] = ("numpy.dtype",)
"""Types outside of skops' own defaults that our files need, each looked at by a person.

`numpy.dtype` is a scalar type's name, kept by SimpleImputer and OneHotEncoder. What a file itself asks for
(`skops.io.get_untrusted_types`) is never passed on: that would trust anything.
"""

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def dump_object(fitted: Any) -> bytes:
    """Writes a fitted scikit-learn object as skops bytes that depend on nothing but the object.

    skops names its members by memory address and stamps them with the clock, so that two dumps of one object differ;
    a model's version is a hash of its files, so both are replaced here (seen with skops 0.16).

    Args:
        fitted: A scikit-learn transformer or estimator.

    Returns:
        A skops archive.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(fitted))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = members.pop("schema.json").decode()
    numbers = {old: str(new) for new, old in enumerate(dict.fromkeys(re.findall(r'"__id__": (\d+)', schema)), start=1)}
    schema = re.sub(r'"__id__": (\d+)', lambda m: f'"__id__": {numbers[m[1]]}', schema)
    schema = re.sub(r'"(\d+)\.npy"', lambda m: f'"{numbers.get(m[1], m[1])}.npy"', schema)
    arrays = {
        re.sub(r"^(\d+)\.npy$", lambda m: f"{numbers.get(m[1], m[1])}.npy", name): _without_gaps(data)
        for name, data in members.items()
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [*sorted(arrays.items()), ("schema.json", schema.encode())]:
            archive.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def load_object(data: bytes, name: str, trusted: Sequence[str] = ()) -> Any:
    """Reads what `dump_object` wrote.

    Args:
        data: A skops archive.
        name: The file's name, for the message.
        trusted: Types that this kind of file needs beside `TRUSTED_TYPES`, each looked at by a person.

    Returns:
        The fitted object.

    Raises:
        ToolRejected: The archive holds a type that nobody reviewed, or is not a skops archive.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.loads(data, trusted=[*TRUSTED_TYPES, *trusted])
    except UntrustedTypesFoundException as err:
        raise ToolRejected(
            f"{name} was not loaded: it holds types outside the reviewed list ({err}). Load files that this product "
            "wrote, or review the type and add it to those that the file's algorithm trusts."
        ) from err
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as err:
        raise ToolRejected(
            f"{name} was not loaded: it is not a whole skops archive ({type(err).__name__}). Take the model's files "
            "from the registry again."
        ) from err


def _without_gaps(data: bytes) -> bytes:
    """An array of records as it is written with zeros in the gaps between their fields, where memory held anything.

    A tree of scikit-learn is one: two dumps of the same forest differed there.
    """
    import numpy as np

    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.names is None:
        return data
    clean = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()
