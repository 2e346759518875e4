"""An experiment: its config, which is checked and recorded, and its work directory."""
