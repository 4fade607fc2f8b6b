"""Why the model says what it says: attributions and the model card, per brand."""
