"""The store's shelf, for use cases that stand on it."""

from tests.unit.store.conftest import shelf

__all__ = ["shelf"]
