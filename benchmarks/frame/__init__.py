"""The frame that every bar runs in: pairs, answers, figures, verdicts, the record. It knows no bar by name."""
