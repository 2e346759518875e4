"""Published networks that make features of pictures and sound, and their weights."""
