"""What people look at: tables, pictures, files of results, and curves."""
