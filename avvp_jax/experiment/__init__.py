"""An experiment: its config, checked and remembered, and its work directory."""
