"""Searching: which photos have these tags and not those, surest first, a page at a time.

``query`` what is asked; ``bearings`` what must be known of the tags before the first row is read;
``sql`` the question as SQL over the tables; ``find`` the walk that stops at the page. What holds is
what the view ``effective_tags`` says; here it is asked so that a page costs milliseconds in a library
of any size.
"""
