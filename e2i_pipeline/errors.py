"""The errors of the product: one root, leaf names that state the fact.

Whether a failure may be retried is a class (`ToolUnavailable`), not a flag. The translation into Dagster's
vocabulary lives in `failures.py`; nothing here knows Dagster.

A message says what was tried, what was found (where, and how often), and what to do next. It never carries a
patient's value.
"""


class E2IError(Exception):
    """Root of every error that this product raises on purpose."""


class ConfigurationError(E2IError, ValueError):
    """The configuration is wrong: an unknown key, a wrong type, or two settings that cannot both hold."""


class StateFolderConflict(ConfigurationError):
    """The state folder holds another source's world."""


class ToolUnavailable(E2IError):
    """A tool, server or file system did not answer. Trying again may help, so the step is retried."""


class ToolRejected(E2IError):
    """A tool answered and refused. Trying again will not help."""


class ReferenceNotFound(E2IError):
    """An upstream asset has never been materialized in this state folder."""


class SourceError(E2IError):
    """The source's input cannot be read as declared: a missing file or column, an unreadable value."""


class GateBlocked(E2IError):
    """Root of what a gate refuses. Nothing downstream changes."""


class QCGateBlockedError(GateBlocked):
    """A table has no passing verdict for exactly its present version, suite and gate configuration."""


class OverrideRefused(GateBlocked):
    """An override names no person or no reason, or there is no failing verdict to override."""


class LeakageFound(GateBlocked):
    """A modelling dataset knows something that was not known at prediction time."""


class TestSplitSealed(GateBlocked):
    """The outcomes of the test split were asked for off the record."""

    __test__ = False  # pytest takes the name for a test


class CohortTooSmall(GateBlocked):
    """Too few journeys, or too few with the outcome, to train and to evaluate honestly."""


class ServingBlocked(GateBlocked):
    """What is served is not known to be what the model was trained on."""


class PromotionBlocked(GateBlocked):
    """A verdict that promotion depends on is missing, or the infrastructure gate failed."""
