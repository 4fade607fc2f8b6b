"""Feature tables in event time and in known-at time, joined to entity rows in ways that must give the same rows."""
