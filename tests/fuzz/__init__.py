"""Fuzzing of the loader that the product uses: ``make fuzz``.

:mod:`~tests.fuzz.fuzz` is the command; it starts and watches processes that may die or hang, each
of which runs :mod:`~tests.fuzz.target`. What is broken by :mod:`tests.corpus` is where they begin.
"""
