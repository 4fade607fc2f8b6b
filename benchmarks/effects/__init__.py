"""Effects on worlds whose truth is known: as a study of many seeds, and against EconML's bare calls."""
