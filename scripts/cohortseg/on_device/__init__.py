"""Between the network and the cells, where the network's fields lie: torch ops on a GPU, or on a CPU just as well."""
