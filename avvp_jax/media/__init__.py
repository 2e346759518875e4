"""Video and sound of a file: what published extraction programs read from it, or better."""
