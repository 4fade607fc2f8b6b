"""skops files: equal bytes for equal objects, and nothing that nobody reviewed."""

import io
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from e2i_pipeline.domain.native_files import TRUSTED_TYPES, _without_gaps, dump_object, load_object
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


def test_gaps_between_the_fields_of_a_record_decide_nothing() -> None:
    forest = RandomForestClassifier(n_estimators=3, random_state=1).fit(np.arange(40.0).reshape(20, 2), [0, 1] * 10)
    [nodes] = [tree.tree_.__getstate__()["nodes"] for tree in forest[:1]]
    assert nodes.dtype.itemsize > sum(nodes.dtype[name].itemsize for name in nodes.dtype.names)
    odd = nodes.copy()
    odd.view(np.uint8).reshape(len(odd), -1)[:, -1] = 7

    for array in (nodes, odd):
        assert (array == nodes).all()
    assert len({_without_gaps(_saved(array)) for array in (nodes, odd)}) == 1
    assert _without_gaps(_saved(np.arange(3))) == _saved(np.arange(3))


def _saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
