"""What a comparison has measured, and which of its trials it is read from."""
