"""Folds of rows that have neither a patient nor a physician in common, so that no fold has seen the other's people."""

# pandas' types know little of factorize, SciPy ships none.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import hashlib
from typing import TYPE_CHECKING

from e2i_pipeline.errors import CohortTooSmall

if TYPE_CHECKING:
    import numpy as np


def connected_groups(patient: "np.ndarray", physician: "np.ndarray | None" = None) -> "np.ndarray":
    """Groups of rows that a patient or a physician connects, however many steps away.

    Args:
        patient: Identifier per row (rows,).
        physician: Likewise (rows,), None or empty where a row has none; None where the source has no physicians.

    Returns:
        (rows,), whole numbers from 0, in order of first appearance.
    """
    import numpy as np
    import pandas as pd
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    person = pd.factorize(patient)[0]
    if physician is None:
        return person
    doctor = pd.factorize(pd.Series(physician, dtype=object).replace("", None))[0]
    people, doctors = int(person.max(initial=-1)) + 1, int(doctor.max(initial=-1)) + 1
    has = doctor >= 0
    size = people + doctors
    edges = coo_matrix((np.ones(has.sum(), bool), (person[has], people + doctor[has])), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    return pd.factorize(component[person])[0]


def assign_folds(groups: "np.ndarray", shares: "dict[str, float]", seed: int) -> "np.ndarray":
    """Assigns whole groups to folds of about these shares of the rows.

    Groups come in an order by hash, so that neither their numbers nor the rows' order decides; each goes to the fold
    that lacks most.

    Args:
        groups: Group of each row (rows,), whole numbers from 0.
        shares: Fold to its share of the rows; they add up to 1.
        seed: Another seed, another assignment.

    Returns:
        Fold of each row (rows,), as text.

    Raises:
        CohortTooSmall: One group is so large that a fold would be less than half of what it should be.
    """
    import numpy as np

    sizes = np.bincount(groups)
    order = sorted(range(len(sizes)), key=lambda g: hashlib.sha256(f"{seed}/{g}".encode()).digest())
    order.sort(key=lambda g: -sizes[g])  # the large ones first, while there is room for them
    names, wanted = list(shares), np.array([share * len(groups) for share in shares.values()])
    missing, fold_of = wanted.copy(), np.empty(len(sizes), dtype=int)
    for group in order:
        fold = int(np.argmax(missing / wanted))
        fold_of[group] = fold
        missing[fold] -= sizes[group]
    small = [name for name, lack, want in zip(names, missing, wanted, strict=True) if lack > want / 2]
    if small:
        raise CohortTooSmall(
            f"the fold {small[0]} would have less than half of its share: the largest of {len(sizes)} groups of "
            f"patients and physicians holds {sizes.max()} of {len(groups)} rows. Split by patient alone "
            "(causal.split_by: patient), or take a cohort whose physicians share fewer patients."
        )
    return np.array(names, dtype=object)[fold_of][groups]
