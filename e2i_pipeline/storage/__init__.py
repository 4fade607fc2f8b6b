"""The typed IO manager: references only, as JSON; anything else is refused."""
