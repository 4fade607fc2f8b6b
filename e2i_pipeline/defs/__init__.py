"""What exists and when: Dagster declarations only. Each folder is a stage; stages meet through asset keys."""
