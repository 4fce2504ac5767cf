"""Pictures of a run's scores, as a paper prints them: plain values in, matplotlib figures out."""
