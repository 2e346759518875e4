"""Results for people to read: tables, pictures, csv files, and curves."""
