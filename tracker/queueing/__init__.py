"""How a request becomes a run: planned, recorded, and workers told of it."""
