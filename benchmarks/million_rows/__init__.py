"""A million modelling rows in memory, and both ways of learning from them and judging what was learned."""
