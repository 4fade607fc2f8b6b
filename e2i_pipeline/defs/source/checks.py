"""The source suites as blocking asset checks."""

from e2i_pipeline.config.loader import settings
from e2i_pipeline.defs.gate_checks import gate_checks

_GX = settings().stores.gx_root

patient_journeys_checks = gate_checks("patient_journeys", "e2i_patient_journeys", _GX)
treatment_events_checks = gate_checks("treatment_events", "e2i_treatment_events", _GX)
hcp_profiles_checks = gate_checks("hcp_profiles", "e2i_hcp_profiles", _GX)
engagement_events_checks = gate_checks("engagement_events", "e2i_engagement_events", _GX)
