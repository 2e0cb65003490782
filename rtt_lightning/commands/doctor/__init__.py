"""`rtt doctor`: what this machine has, and what a configuration would need of it."""
