"""How it is done here: one technology per file or folder; `memory` holds the twin of every port."""
