# ruff: noqa: TID253 - a Feast repository is made of Feast objects
"""Whom a feature is about. Both keys are keyed pseudonyms, made when the source was landed."""

from feast import Entity, ValueType

patient = Entity(
    name="patient_id",
    join_keys=["patient_id"],
    value_type=ValueType.STRING,
    description="A patient, by pseudonym.",
    owner="data-preparer",
)

hcp = Entity(
    name="hcp_id",
    join_keys=["hcp_id"],
    value_type=ValueType.STRING,
    description="A health-care professional, by pseudonym.",
    owner="data-preparer",
)
