"""The use cases, each a function: here the rooms are joined.

Functions take an open database and settings as values, and give back frozen reports; they print
nothing. ``survey`` compares folders with the store, ``tagging`` runs the pipeline over what is
pending, ``versions`` says which model is meant, ``lookup`` answers questions, ``doctor`` examines
the machine. Import them by module: looking things up must not cost an import of the engines.
"""
