"""A world of patients with a known causal effect: the four canonical tables, and the truth beside them.

Everything follows from the design: no clock, no I/O, no loop over rows. What drives what stands in `synthetic_process`,
who the people are in `synthetic_population`, how they are written as tables in `synthetic_tables` and
`synthetic_events`, what becomes known when in `synthetic_versions`, what a method should find in `synthetic_truth`.
"""

# pyarrow ships no types, so what comes out of it is unknown to the type checker.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from e2i_pipeline.contracts.tables import TABLES
from e2i_pipeline.domain import synthetic_columns as columns
from e2i_pipeline.domain import synthetic_events as events
from e2i_pipeline.domain import synthetic_population as population
from e2i_pipeline.domain import synthetic_tables as tables
from e2i_pipeline.domain import synthetic_versions as versions
from e2i_pipeline.domain import synthetic_vocabulary as vocabulary
from e2i_pipeline.domain.synthetic_population import Panel
from e2i_pipeline.domain.synthetic_process import PROCESSES, Design
from e2i_pipeline.domain.synthetic_truth import DEFINITIONS, brand_truth
from e2i_pipeline.domain.synthetic_versions import Streams

if TYPE_CHECKING:
    import pyarrow as pa

GENERATOR_VERSION = 2
"""Raised whenever the same seed would give other tables."""

BLOCK = 50_000
"""Journeys that are made at a time, each block from streams of its own: memory does not grow with the world."""


class World(NamedTuple):
    """What was generated.

    Attributes:
        tables: The canonical tables by name.
        truth: JSON values: what a method should find in them, per brand.
    """

    tables: "dict[str, pa.Table]"
    truth: dict[str, Any]


def generate(
    brands: Sequence[str],
    seed: int,
    journeys_per_brand: int,
    outcome_window_days: int = 180,
    process: str = "confounded",
    **switches: Any,
) -> World:
    """Generates the world as a whole, in memory. A brand's rows do not depend on the other brands.

    Args:
        brands: Brand names.
        seed: >= 0.
        journeys_per_brand: Journeys, and patients, of each brand, >= 1.
        outcome_window_days: Days from the index date (included) in which treatment counts, >= 1.
        process: A name in `PROCESSES`.
        switches: The other attributes of `Design`.

    Returns:
        The four canonical tables over all brands, and the truth.

    Raises:
        ValueError: There is no such process.
    """
    import pyarrow as pa

    design = Design(seed, journeys_per_brand, outcome_window_days, process, **switches)
    parts = list(generate_blocks(brands, design))
    whole = {name: pa.concat_tables([columns.plain(part[name]) for part in parts]) for name in TABLES}
    return World(whole, truth(brands, design))


def generate_blocks(brands: Sequence[str], design: Design) -> "Iterator[dict[str, pa.Table]]":
    """Generates the world block by block, texts dictionary-encoded.

    Args:
        brands: Brand names.
        design: What decides the world.

    Yields:
        The four canonical tables of at most `BLOCK` journeys of one brand; all blocks have the same columns.

    Raises:
        ValueError: There is no such process.
    """
    _check(design)
    for brand in brands:
        profile = vocabulary.BRAND_PROFILES.get(brand, vocabulary.GENERIC_PROFILE)
        start = brand_truth(brand, design.process, design.seasonality)["intercept"]
        panel = population.draw_panel(
            Streams.of(design.seed, brand, 0).panel, profile, max(8, design.journeys_per_brand // 50)
        )
        count, number = -(-design.journeys_per_brand // BLOCK), {"treatment_events": 0, "engagement_events": 0}
        for block in range(count):
            rows = range(block * BLOCK, min((block + 1) * BLOCK, design.journeys_per_brand))
            physicians = range(block * panel.size // count, (block + 1) * panel.size // count)
            made = _Block(brand, profile, panel, design, start).make(block, rows, physicians, number)
            yield {name: made[name] for name in TABLES}


class _Block(NamedTuple):
    """What all blocks of a brand share."""

    brand: str
    profile: vocabulary.BrandProfile
    panel: Panel
    design: Design
    intercept: float

    def make(self, block: int, rows: range, physicians: range, number: dict[str, int]) -> "dict[str, pa.Table]":
        """The tables of some journeys and physicians; counts the events on in `number`."""
        brand, profile, design = self.brand, self.profile, self.design
        streams = Streams.of(design.seed, brand, block)
        patients = population.draw_patients(streams.patients, profile, self.panel, rows, design, self.intercept)
        journeys = tables.journeys_table(streams, brand, profile, patients, design)
        drawn = events.draw_events(streams.events, streams.history, profile, patients, design)
        happened = events.events_table(streams.events, brand, profile, patients, drawn, number["treatment_events"])
        touches = events.touches_table(
            streams, brand, self.panel, physicians, patients, design, number["engagement_events"]
        )
        number["treatment_events"] += happened.num_rows
        number["engagement_events"] += touches.num_rows
        if design.restated_event_share:
            happened = versions.restated_events(streams.history, happened, design.restated_event_share)
        part = self.panel.part(physicians.start, physicians.stop)
        return {
            "patient_journeys": journeys,
            "treatment_events": happened,
            "hcp_profiles": tables.profiles_table(streams.profiles, brand, profile, part, physicians.start),
            "engagement_events": touches,
        }


def truth(brands: Sequence[str], design: Design) -> dict[str, Any]:
    """What a method should find in the world, as JSON values, with what each figure is in words.

    Args:
        brands: Brand names.
        design: What decides the world.

    Raises:
        ValueError: There is no such process.
    """
    _check(design)
    return {
        "process": design.process,
        "effect": f"Log-odds of starting treatment per engagement point: {PROCESSES[design.process].definition}",
        "generator_version": GENERATOR_VERSION,
        "design": asdict(design),
        "definitions": DEFINITIONS,
        "brands": {brand: dict(brand_truth(brand, design.process, design.seasonality)) for brand in brands},
    }


def _check(design: Design) -> None:
    if design.process not in PROCESSES:
        raise ValueError(f"There is no generating process {design.process!r}; there are {', '.join(PROCESSES)}.")
