"""One file a figure: what a paper claims, the data that test it, the picture and the verdict."""
