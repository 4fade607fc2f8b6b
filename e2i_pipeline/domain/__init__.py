"""What we know: pure functions, one module per idea. No I/O, no clock, no tool."""
