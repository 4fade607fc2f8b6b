"""A forest of scikit-learn as an XGBoost booster, which knows exact tree SHAP in compiled code.

The `shap` package computes the same values from the same arrays, but is a tool that no Bento carries (it brings a
compiler, and 2.5 s of import); XGBoost is there. Nothing is scored by the booster: its leaves are in single precision.
"""

# scikit-learn ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import json
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import numpy as np

_NO_PARENT = 2**31 - 1
_made: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def as_booster(forest: Any) -> Any:
    """The booster whose trees are those of a fitted forest; made once per forest.

    Args:
        forest: A fitted forest of scikit-learn with one outcome: a regressor, or a classifier of two classes, of which
            the second is explained.

    Returns:
        An `xgboost.Booster` of the same splits and covers, whose margin is the forest's mean over its trees.
    """
    import xgboost

    if forest not in _made:
        trees = [_tree(member.tree_, number, len(forest)) for number, member in enumerate(forest)]
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(json.dumps(_model(trees, forest.n_features_in_)).encode()))
        _made[forest] = booster
    return _made[forest]


def _tree(tree: Any, number: int, of: int) -> dict[str, Any]:
    """One tree in XGBoost's schema, https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html."""
    import numpy as np

    order, left, right, parents = _siblings_together(tree.children_left, tree.children_right)
    is_leaf = left < 0
    values = tree.value[order, 0, -1] / of
    return {
        "base_weights": values.tolist(),
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": np.where(is_leaf, 0, tree.missing_go_to_left[order]).astype(int).tolist(),
        "id": number,
        "left_children": left.tolist(),
        "loss_changes": [0.0] * tree.node_count,
        "parents": parents.tolist(),
        "right_children": right.tolist(),
        "split_conditions": np.where(is_leaf, values, _strict(tree.threshold[order])).tolist(),
        "split_indices": np.where(is_leaf, 0, tree.feature[order]).astype(int).tolist(),
        "split_type": [0] * tree.node_count,
        "sum_hessian": tree.weighted_n_node_samples[order].tolist(),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(tree.n_features),
            "num_nodes": str(tree.node_count),
            "size_leaf_vector": "1",
        },
    }


def _siblings_together(
    left: "np.ndarray", right: "np.ndarray"
) -> "tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]":
    """Numbers the nodes anew, level by level: XGBoost looks for a right child behind the left one.

    Returns:
        Per new node its old number, and its left child, right child (-1 for none) and parent by new numbers.
    """
    import numpy as np

    order = [0]
    parents, new_left = [_NO_PARENT], np.full(len(left), -1)
    for new, old in enumerate(order):  # grows while it is walked
        if left[old] >= 0:
            new_left[new] = len(order)
            order += [int(left[old]), int(right[old])]
            parents += [new, new]
    return np.array(order), new_left, np.where(new_left < 0, -1, new_left + 1), np.array(parents)


def _strict(thresholds: "np.ndarray") -> "np.ndarray":
    """For single precision, the `t` of `x < t` that says the same as `x <= threshold`: the next number above it."""
    import numpy as np

    single = thresholds.astype(np.float32)
    below = np.where(single > thresholds, np.nextafter(single, np.float32(-np.inf)), single)
    return np.nextafter(below, np.float32(np.inf)).astype(np.float64)


def _model(trees: list[dict[str, Any]], features: int) -> dict[str, Any]:
    return {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {
                "model": {
                    "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
                    "iteration_indptr": list(range(len(trees) + 1)),
                    "tree_info": [0] * len(trees),
                    "trees": trees,
                },
                "name": "gbtree",
            },
            "learner_model_param": {
                "base_score": "[0E0]",
                "boost_from_average": "0",
                "num_class": "0",
                "num_feature": str(features),
                "num_target": "1",
            },
            "objective": {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [3, 2, 0],
    }
