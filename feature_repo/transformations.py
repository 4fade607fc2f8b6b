# ruff: noqa: TID253 - a Feast repository is made of Feast objects
"""Transformations of on-demand views that the registry keeps as source text, and as nothing else.

Feast itself writes a function as pickled bytes beside its source. Whoever reads a registry prefers the source, so the
bytes are left out: nobody has to load a pickle that somebody else could have written. A function must therefore stand
on its own: it sees `np`, `pd`, the functions that are handed over with it and the constants, nothing of its module.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pandas as pd
from feast.protos.feast.core.Transformation_pb2 import UserDefinedFunctionV2
from feast.transformation.pandas_transformation import PandasTransformation
from feast.transformation.udf_rehydrate import rehydrate_udf_from_source

Transformation = Callable[[pd.DataFrame], pd.DataFrame]


class SourceTransformation(PandasTransformation):
    """A pandas transformation whose registry entry is its source."""

    def to_proto(self) -> UserDefinedFunctionV2:
        """The registry entry, without pickled bytes."""
        return UserDefinedFunctionV2(name=self.udf.__name__, body=b"", body_text=self.udf_string, mode="pandas")

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> "SourceTransformation":
        """Itself: nothing changes it. Feast's own copy would write pickled bytes again."""
        return self


def from_source(
    function: Transformation, *helpers: Callable[..., Any], **constants: float | str | list[str]
) -> SourceTransformation:
    """A transformation that is what its text says: the same text that the registry keeps is executed here.

    Args:
        function: Takes a frame with the columns of all sources, and returns one with the new features only.
        *helpers: Functions of this repository that it calls.
        **constants: Values that it reads by name.

    Raises:
        ValueError: The text alone does not make a function.
    """
    lines = [f"{name} = {value!r}\n" for name, value in sorted(constants.items())]
    text = "\n\n".join(["".join(lines), *(inspect.getsource(part) for part in (*helpers, function))]).lstrip()
    rehydrated = rehydrate_udf_from_source(text, preferred_name=function.__name__)
    if rehydrated is None:
        raise ValueError(
            f"The on-demand function {function.__name__} does not stand on its own; see transformations.py."
        )
    return SourceTransformation(udf=rehydrated, udf_string=text)
