"""Where batches come from: sources of examples, transforms, and the pipeline that joins them."""
