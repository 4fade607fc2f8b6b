"""Made-up modelling rows with a known dependence, for every kind of feature and with nulls."""

import numpy as np
import pandas as pd

from e2i_pipeline.contracts.references import FeatureSpec

FEATURES = (
    FeatureSpec(name="severity", kind="numeric", view="patient_features"),
    FeatureSpec(name="age", kind="numeric", view="patient_features"),
    FeatureSpec(name="region", kind="categorical", view="patient_features"),
    FeatureSpec(name="noise", kind="numeric", view="patient_features"),
    FeatureSpec(name="is_academic", kind="boolean", view="hcp_features"),
)


def modelling_rows(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Features (rows, 5) and outcomes (rows,): likelier with severity, in the south, and not linearly with age."""
    rng = np.random.default_rng(seed)
    severity, age = rng.uniform(0, 10, rows), rng.uniform(18, 90, rows)
    region = rng.choice(np.array(["south", "west", "<east>"], dtype=object), rows)
    logit = 0.4 * (severity - 5) + 1.0 * (region == "south") + 1.5 * (np.abs(age - 54) < 15) - 1.5
    outcomes = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    frame = pd.DataFrame(
        {
            "severity": np.where(rng.random(rows) < 0.1, np.nan, severity),
            "age": age,
            "region": np.where(rng.random(rows) < 0.1, None, region),
            "noise": rng.normal(size=rows),
            "is_academic": rng.choice([0.0, 1.0, np.nan], rows),
        }
    )
    return frame, outcomes
