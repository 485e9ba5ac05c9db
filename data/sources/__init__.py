"""One file a data set; the file's name is the name that a config gives as data.source.name."""
