"""A graph as papers write it: an algorithm box, and its texts.

`build` makes the box of a graph, `text`, `latex`, `markdown` and `html` write it. All four write
the same small trees (`tree`, `box`), and every letter comes from one table (`symbols`).
"""
