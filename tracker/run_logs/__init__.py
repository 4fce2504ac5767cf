"""What is logged and printed while a run is worked on, kept with the run."""
