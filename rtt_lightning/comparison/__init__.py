"""Methods compared: a grid of runs, how they are carried out, and what became of them."""
