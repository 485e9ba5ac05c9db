"""What several sources share; nothing in here is a source."""
