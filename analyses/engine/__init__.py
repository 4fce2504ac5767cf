"""The inside of language models: traced, recorded, decomposed, and replayed under interventions."""
