"""What the transforms share; nothing in here is a transform."""
