"""Hot keys: which partition keys consumed most, and how near one came to what a partition can take."""
