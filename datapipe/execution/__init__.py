"""The process that a notebook's kernel lives in: papermill, and the truth about what became of each cell.

It is started as ``python -m datapipe.execution`` with an order on its standard input, tells what happens as lines of
JSON on its standard output, and ends its kernel whatever becomes of it or of whoever started it.
"""
