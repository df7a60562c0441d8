"""Results as pictures and pages. No fitting here."""
