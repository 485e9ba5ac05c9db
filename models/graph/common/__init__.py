"""What several graph networks share."""
