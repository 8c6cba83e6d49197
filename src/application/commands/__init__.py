"""What callers and operators may ask to be done."""
