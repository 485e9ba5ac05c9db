"""Text: tokens int32 [b, l]."""
