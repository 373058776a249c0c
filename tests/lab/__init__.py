"""A real JupyterLab, and the web page, in a real browser, for tests.

``server`` starts JupyterLab, ``browser`` lends its pages, and ``notebook`` is what tests hold in their hands. ``cells``
has plans that take as long as a test needs, ``checks`` asks whether everybody can read a card, and ``headless`` runs
notebooks that nobody looks at. ``website`` starts ``datapipe api``.
"""
