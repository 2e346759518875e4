"""Events, the ten F-scores of predictions, and statistics over several seeds."""
