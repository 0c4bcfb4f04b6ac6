"""Files that are whole or not there, caches named by what made them, the lock of a results folder, provenance."""
