"""What a run leaves on disk: its record, its identity, atomic files. Standard library only."""
