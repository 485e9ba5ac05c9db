"""Text as token ids: tokenizers, prepared ids, and plans of which texts share a batch."""
