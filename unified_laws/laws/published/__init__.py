"""Numbers printed in papers, as data with their source."""
