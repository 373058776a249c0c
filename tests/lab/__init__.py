"""A real JupyterLab in a real browser, for tests."""
