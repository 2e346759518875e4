"""A folder of one's own videos and classes, as a data set."""
