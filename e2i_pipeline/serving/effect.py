"""The way from a registered effect's file to effects: never one without its interval and its support.

It knows nothing of MLflow and imports none of it; `mlflow_model` hands over to it where the files are an effect's.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from e2i_pipeline.domain.causal.linear_effect import LinearEffect

EFFECT_FILE = "effect.json"


class PackagedEffect:
    """A linear effect as MLflow wants to call it.

    Attributes:
        effect: The effect.
    """

    def __init__(self, effect: "LinearEffect") -> None:
        self.effect = effect

    def predict(self, frame: "pd.DataFrame", params: dict[str, Any] | None = None) -> "pd.DataFrame":
        """Per row the effect, both ends of its interval of 95 %, and whether it lies within what was fitted on.

        Args:
            frame: The modifiers' columns.
            params: MLflow passes inference parameters here; there are none.
        """
        import pandas as pd

        modifiers = frame[list(self.effect.names)].to_numpy(dtype="float64")
        value, low, high = self.effect.effect(modifiers)
        answer = {"effect": value, "effect_low": low, "effect_high": high}
        return pd.DataFrame({**answer, "is_supported": self.effect.is_supported(modifiers)}, index=frame.index)
