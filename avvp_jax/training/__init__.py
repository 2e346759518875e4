"""Everything that trains, evaluates and keeps a network; it knows no method by name."""
