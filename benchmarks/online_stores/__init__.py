"""Online stores, ours and Feast's own, over the same rows."""
