"""Which model is meant, and what its rows are made of."""

from __future__ import annotations

from dataclasses import dataclass

from tagger import models
from tagger.errors import ModelError, WeightsError
from tagger.models import ModelSpec, weights
from tagger.store import catalog, counts
from tagger.store.catalog import Model, ModelEntry, TagEntry
from tagger.store.session import Database
from tagger.taxonomy import Taxonomy, load_taxonomy

DEFAULT_MODEL = "efficientnet-lite0"


@dataclass(frozen=True, slots=True)
class Choice:
    """A model and the words for its labels."""

    spec: ModelSpec
    taxonomy: Taxonomy

    @property
    def entry(self) -> ModelEntry:
        """The rows that make it known to a database."""
        keys = [label.key for label in self.taxonomy.labels]
        return ModelEntry(
            spec=self.spec.name,
            vocabulary=self.spec.vocabulary,
            fingerprint=self.spec.fingerprint(keys, self.taxonomy.digest),
            floor=self.spec.floor,
            labels=self.taxonomy.labels,
            tags=tuple(TagEntry(tag.name, tag.aliases, tag.threshold) for tag in self.taxonomy.tags),
            paths=self.taxonomy.closure(),
            exclusive=self.spec.kind == "softmax",
        )


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """A model that can be asked for. ``input`` is the crop in pixels, ``top1`` as published (0-1)."""

    name: str
    vocabulary: str
    family: str
    year: int
    parameters: int
    input: int
    top1: float
    top1_source: str
    licence: str
    package: str
    here: bool


def catalogue() -> list[CatalogueRow]:
    """All models that can be asked for, and whether their weights are on this machine."""
    return [
        CatalogueRow(
            name=spec.name,
            vocabulary=spec.vocabulary,
            family=spec.family,
            year=spec.year,
            parameters=spec.parameters,
            input=spec.preprocessing.crop,
            top1=spec.published.top1,
            top1_source=spec.published.source,
            licence=spec.licence,
            package=spec.weights.package,
            here=_is_here(spec),
        )
        for spec in models.all_specs()
    ]


def _is_here(spec: ModelSpec) -> bool:
    try:
        weights.locate(spec.weights)
    except WeightsError:
        return False
    return True


def choose(database: Database, name: str | None) -> Choice:
    """The model asked for; else the one that is live in this database; else the default.

    Raises :class:`ModelError` when there is none of that name.
    """
    spec = models.get(name or _live(database) or DEFAULT_MODEL)
    return Choice(spec, load_taxonomy(spec.labels))


def require(name: str) -> None:
    """Raise :class:`ModelError` unless there is a model of that name."""
    models.get(name)


def require_same(model: Model) -> None:
    """Raise :class:`ModelError` unless this program would make just this version of the model."""
    spec = models.get(model.spec)
    ours = Choice(spec, load_taxonomy(spec.labels)).entry
    if ours.fingerprint != model.fingerprint:
        raise ModelError(f"{model.name} was made by another version of this program, which has {ours.name}")


def register(database: Database, choice: Choice) -> Model:
    """The model's version in this database, made if it is new, with tallies that hold."""
    with database.writing() as connection:
        model = catalog.register_model(connection, choice.entry)
    # Apart: making a partition waits for all who write scores, and these wait for the tallies.
    with database.writing() as connection:
        counts.refresh(connection)
    return model


def promote(database: Database, name: str) -> Model:
    """Make a registered version the live one of its vocabulary.

    Raises :class:`ModelError` when it is unknown, or lacks an outcome for any present image.
    """
    with database.writing() as connection:
        model = catalog.find_model(connection, name)
        catalog.promote(connection, model)
        counts.refresh(connection)
        return catalog.find_model(connection, model.name)


def registered(database: Database) -> list[Model]:
    """All versions in this database, oldest first."""
    with database.reading() as connection:
        return catalog.models(connection)


def _live(database: Database) -> str | None:
    vocabulary = models.get(DEFAULT_MODEL).vocabulary
    with database.reading() as connection:
        live = catalog.live_model(connection, vocabulary)
    return live.spec if live is not None and live.spec in models.names() else None
