"""Odd, broken and hostile picture files, made from nothing but a seed.

Tests run the product over them and fuzzing begins with them. :mod:`~tests.corpus.sound` and
:mod:`~tests.corpus.handmade` are in order, :mod:`~tests.corpus.odd` too, though few programs expect
it; :mod:`~tests.corpus.bombs` mean harm, :mod:`~tests.corpus.others` are no pictures, and
:mod:`~tests.corpus.mutations` breaks what is sound. :mod:`~tests.corpus.judge` asks Pillow alone.
"""
