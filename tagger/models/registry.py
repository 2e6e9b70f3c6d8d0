"""The models that can be asked for by name. Torch is not imported here.

Models are registered at start-up, from one thread; looking them up is safe from any.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from tagger.errors import ModelError
from tagger.models.catalogue import built_in
from tagger.models.spec import ModelSpec


class Registry:
    """Specs by name, in the order in which they were registered; a name stands for one."""

    def __init__(self, specs: Iterable[ModelSpec] = ()) -> None:
        self._specs: dict[str, ModelSpec] = {}
        self._adopted: list[str] = []
        for spec in specs:
            self.register(spec)

    def register(self, spec: ModelSpec) -> None:
        """Add a model.

        Raises:
            ModelError: the name is taken, even by an equal spec: two places that register the
                same model are a mistake that would hide the next one.
        """
        if spec.name in self._specs:
            raise ModelError(f"A model called {spec.name} is registered already; choose another name.")
        self._specs[spec.name] = spec

    def adopt(self, specs: Iterable[ModelSpec]) -> None:
        """Register these instead of those that were adopted before; raises as :meth:`register`."""
        for name in self._adopted:
            del self._specs[name]
        self._adopted = []
        for spec in specs:
            self.register(spec)
            self._adopted.append(spec.name)

    def get(self, name: str) -> ModelSpec:
        """The model of that name.

        Raises:
            ModelError: there is none; the message names the nearest, or all.
        """
        try:
            return self._specs[name]
        except KeyError:
            raise ModelError(f"There is no model called {name}; {self._hint(name)}") from None

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._specs)

    def all_specs(self) -> tuple[ModelSpec, ...]:
        """All models, in the order of registration."""
        return tuple(self._specs.values())

    def _hint(self, name: str) -> str:
        near = get_close_matches(name.lower(), self._specs, n=1)
        if near:
            return f"did you mean {near[0]}?"
        first = ", ".join(list(self._specs)[:3])
        return f"there are {first} and others: `tagger models` lists them." if first else "there is none."


_models = Registry(built_in())
adopt = _models.adopt
get = _models.get
names = _models.names
all_specs = _models.all_specs
