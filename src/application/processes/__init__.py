"""What goes on by itself: sending what is due, following the log, settling what providers report."""
