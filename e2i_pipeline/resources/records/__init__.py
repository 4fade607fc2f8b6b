"""The topics of `MetadataResource`, one module each: which contract fills which row."""
