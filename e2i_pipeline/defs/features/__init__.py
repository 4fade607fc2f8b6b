"""From the published dataset to feature tables, the feature registry and the training dataset."""
