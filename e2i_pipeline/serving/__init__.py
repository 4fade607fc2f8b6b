"""The service that a Bento carries, how it gets into one, and how to talk to it. Of ours: domain, contracts, errors."""
