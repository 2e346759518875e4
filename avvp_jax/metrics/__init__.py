"""Events and the ten F-scores of probabilities, and statistics of several seeds."""
