"""What launch.py does, a file for each mode."""
