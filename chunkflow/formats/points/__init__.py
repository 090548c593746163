"""Points that people or other programs marked, read from files of any usual format."""
