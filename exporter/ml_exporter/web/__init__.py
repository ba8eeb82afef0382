"""The HTTP side: what is served, and how."""
