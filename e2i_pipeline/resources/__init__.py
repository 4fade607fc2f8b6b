"""What we talk to: one adapter per tool, the tool imported when it is first used."""
