"""The web page: runs, one run, workers; HTML that is whole without its script, which only keeps it as it is now."""
