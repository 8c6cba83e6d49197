"""The HTTP edge: REST, callbacks, health and the pages people look at."""
