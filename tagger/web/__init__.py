"""The library over HTTP: an API for programs, and what keeps others out of it.

``app`` puts it together from a :class:`~tagger.web.site.Site`; ``security`` stands before every route;
``errors`` has the one form in which anything is refused; ``api`` is a file for each resource. Endpoints
parse, call a use case in :mod:`tagger.library`, and answer.
"""
