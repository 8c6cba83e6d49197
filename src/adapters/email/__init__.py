"""Those who carry email."""
