"""skops files: equal bytes for equal objects, and nothing that nobody reviewed."""

import io
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from e2i_pipeline.domain.native_files import TRUSTED_TYPES, dump_object, load_object
from e2i_pipeline.errors import ToolRejected


def _fitted() -> StandardScaler:
    return StandardScaler().fit(np.arange(12.0).reshape(6, 2))


def test_a_round_trip_is_exact_and_two_dumps_are_equal() -> None:
    data = dump_object(_fitted())

    assert data == dump_object(_fitted())
    loaded = load_object(data, "scaler.skops")
    np.testing.assert_array_equal(loaded.mean_, _fitted().mean_)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


def test_a_type_outside_the_reviewed_list_is_refused() -> None:
    data = dump_object(FunctionTransformer(func=np.random.default_rng))
    assert skops.io.get_untrusted_types(data=data)
    assert not set(skops.io.get_untrusted_types(data=data)) & set(TRUSTED_TYPES)

    with pytest.raises(ToolRejected, match=r"odd\.skops was not loaded: it holds types outside the reviewed list"):
        load_object(data, "odd.skops")


@pytest.mark.parametrize("data", [b"", b"not an archive", dump_object(_fitted())[:200]])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(ToolRejected, match="not a whole skops archive"):
        load_object(data, "broken.skops")
