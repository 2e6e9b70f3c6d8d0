"""Training as a use case: examples found and loaded, a network taught, its version kept and registered.

- :mod:`.order`: what is asked for, and who is told how far it is;
- :mod:`.examples`: examples from folders, tables and verdicts; :mod:`.pictures` loads them;
- :mod:`.material`: who learns from what, and who measures;
- :mod:`.learning`: the network taught, in one of three ways;
- :mod:`.train`: all of it, from first to last.
"""
