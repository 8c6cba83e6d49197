"""The in-memory twin of every port, held to the same promises as the real ones."""
