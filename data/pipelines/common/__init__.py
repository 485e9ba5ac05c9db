"""What several pipelines share; nothing in here is a pipeline."""
