"""What the connectors over a standard of events have in common: a folder of its tables, and one declared cohort."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from e2i_pipeline.contracts.base import content_key
from e2i_pipeline.contracts.cohort import CohortDefinition, ConceptSet
from e2i_pipeline.resources.connectors.table_folder import Standard, TableFolder


class CohortConnector(ABC):
    """One drop of a standard's tables and one cohort; what is left to do for `Connector` is `query` and `defects`."""

    standard: ClassVar[Standard]
    """The standard's tables and columns."""

    mapping_version: ClassVar[int]
    """Raised when the mapping changes, so that the same files are staged anew."""

    def __init__(
        self, location: str, cohort: CohortDefinition, brand: str, null_markers: Sequence[str] = ("",)
    ) -> None:
        """Checks the cohort; nothing is read yet.

        Args:
            location: Folder with one CSV or Parquet file (or folder of files) per table.
            cohort: The cohort; its index event and treatment must be given.
            brand: Brand that the treatment stands for, on every journey.
            null_markers: Texts that mean null.

        Raises:
            ConfigurationError: The cohort names no index event or treatment, or what the standard does not hold.
        """
        self._index = self.checked("cohort.index_event", cohort.index_event)
        self._treatment = self.checked("cohort.treatment", cohort.treatment)
        self._folder = TableFolder(self.standard, location, null_markers)
        self._definition = cohort
        self._brand = brand
        self._null_markers = tuple(null_markers)
        self._columns: dict[str, tuple[str, ...]] = {}

    @staticmethod
    @abstractmethod
    def checked(name: str, concepts: ConceptSet | None) -> ConceptSet:
        """What a setting names, as the standard writes it.

        Args:
            name: Key of the setting.
            concepts: What it holds; None where nothing is configured.

        Raises:
            ConfigurationError: Nothing is named, or what the standard does not hold.
        """

    def fingerprint(self, table: str) -> str:
        """Hash of the files' names, sizes and times and of the cohort's settings.

        Raises:
            SourceError: The folder or a required table is not there.
        """
        chosen = self._definition
        settings = (self._index, self._treatment, chosen.unit, chosen.outcome_window_days)
        rules = (chosen.washout_days, chosen.prior_observation_days, chosen.index_in_observation)
        stamps = self._folder.stamps()
        return content_key(table, stamps, settings, rules, self._brand, self._null_markers, self.mapping_version)

    def explain(self, table: str, err: Exception) -> str:
        """What it means that the engine failed while it read the rows behind a canonical table, in words."""
        return self._folder.explain(table, err)
