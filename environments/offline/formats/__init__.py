"""How recordings lie on the disk: a reader and a writer for each format, and what is done about damaged files.

Modules:
    d4rl, neorl, neorl2, revive, minari_format: a format each.
    repairs: what a reader may repair, the report of what it did, and the checks that all formats share.
    array_files, minari_files: files from outside, opened with care.
    following: next observations told from the next row. writing: what a format cannot say is refused.
"""
