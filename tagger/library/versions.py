"""Which model is meant, and what its rows are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from sqlalchemy import Connection

from tagger import models
from tagger.errors import ModelError, WeightsError
from tagger.models import (
    Architecture,
    ModelSpec,
    OwnWeights,
    PackagedWeights,
    TorchvisionWeights,
    Weights,
    own,
    weights,
)
from tagger.store import catalog, counts, queries, runs, wants
from tagger.store.catalog import Model, ModelEntry, TagEntry
from tagger.store.queries import ModelDiff
from tagger.store.session import Database
from tagger.taxonomy import Taxonomy, flat_taxonomy, load_taxonomy


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
    """A model that can be asked for. ``input`` is the crop in pixels, ``top1`` as published (0-1);
    ``weights`` names the package that they come with, torchvision's name of them, or the file; it is None
    for a network that waits for somebody's own."""

    name: str
    vocabulary: str
    family: str
    year: int
    parameters: int
    input: int
    top1: float | None
    top1_source: str | None
    licence: str
    weights: str | None
    packaged: bool
    megabytes: float | None
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
            top1=spec.published.top1 if spec.published else None,
            top1_source=spec.published.source if spec.published else None,
            licence=spec.licence,
            weights=_origin(spec.weights),
            packaged=isinstance(spec.weights, PackagedWeights),
            megabytes=round(spec.weights.size / 2**20, 1),
            here=_is_here(spec),
        )
        for spec in models.all_specs()
    ] + [_untrained(network) for network in models.UNTRAINED]


def _untrained(network: Architecture) -> CatalogueRow:
    return CatalogueRow(
        name=network.name,
        vocabulary="",
        family=network.family,
        year=network.year,
        parameters=network.parameters,
        input=network.preprocessing.crop,
        top1=None,
        top1_source=None,
        licence="",
        weights=None,
        packaged=False,
        megabytes=None,
        here=False,
    )


def _origin(source: Weights) -> str:
    match source:
        case PackagedWeights(package=name) | TorchvisionWeights(name=name) | OwnWeights(path=name):
            return name


def fetch(name: str) -> bool:
    """Download a model's weights if they are not here; whether that was done.

    Raises :class:`ModelError` when there is no such model, or no way to its weights.
    """
    spec = models.get(name)
    fetched = weights.fetch(spec.weights)
    weights.check(spec.weights, weights.locate(spec.weights))
    return fetched


@dataclass(frozen=True, slots=True)
class Own:
    """A model to be added: weights, the labels of its classes in their order, and what it is called.

    What of the ``preprocessing`` is None is that of the network as it was published.
    """

    name: str
    architecture: str
    weights: Path
    labels: Path
    vocabulary: str | None = None
    many_labels: bool = False
    resize: int | None = None
    crop: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


def add(folder: Path, given: Own) -> ModelSpec:
    """Keep a model of one's own in ``folder`` and make it known; it can tag from now on.

    Raises :class:`ModelError` for a name that is taken or no name, an unknown network, labels that are none,
    and weights that are broken, hold code or do not fit.
    """
    require_free(given.name, given.vocabulary)
    network = require_network(given.architecture)
    names = own.read_labels(given.labels)
    spec = _own_spec(given, network, len(names))
    flat_taxonomy(spec.name, names)
    state = own.fitting(given.weights, spec, names)
    kept = own.add(folder, spec, state, names)
    adopt_own(folder)
    return kept


def require_free(name: str, vocabulary: str | None) -> None:
    """Raise :class:`ModelError` unless a new model may be called so, and serve that vocabulary."""
    for what, word in (("model", name), ("vocabulary", vocabulary or name)):
        if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?", word):
            raise ModelError(f"{word!r} is no name for a {what}: letters, digits, dots, dashes")
    if vocabulary in {spec.vocabulary for spec in models.catalogue.built_in()}:
        raise ModelError(
            f"the vocabulary {vocabulary} is that of models which come with this program, and your labels "
            "would replace all of its tags: choose another"
        )
    if name in models.names():
        raise ModelError(
            f"there is a model called {name} already: choose another name, or `tagger models remove {name}`"
        )


def require_network(architecture: str) -> Architecture:
    """The network of that name; raises :class:`ModelError`, naming what may have been meant."""
    known = models.architectures()
    if architecture not in known:
        near = get_close_matches(architecture, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`tagger models` lists them"
        raise ModelError(f"there is no network {architecture}; {hint}")
    return known[architecture]


def _own_spec(given: Own, network: Architecture, classes: int) -> ModelSpec:
    usual = network.preprocessing
    crop = given.crop or usual.crop
    resize = given.resize or (usual.resize if given.crop is None else round(crop * usual.resize / usual.crop))
    if resize < crop:
        raise ModelError(f"pictures resized to {resize} have no middle of {crop} pixels")
    return ModelSpec(
        name=given.name,
        vocabulary=given.vocabulary or given.name,
        architecture=network.name,
        family=network.family,
        year=datetime.now().year,
        labels="own",
        label_count=classes,
        preprocessing=replace(
            usual,
            resize=resize,
            crop=crop,
            mean=given.mean or usual.mean,
            std=given.std or usual.std,
        ),
        weights=OwnWeights(str(given.weights), "", 0),
        feature_size=network.feature_size,
        parameters=own.count(network.name, network.family, classes),
        licence="your own",
        kind="sigmoid" if given.many_labels else "softmax",
    )


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
    return choose_spec(models.get(name or _live(database) or models.DEFAULT))


def choose_spec(spec: ModelSpec) -> Choice:
    """A model with the words for its labels; raises :class:`ModelError`."""
    if isinstance(spec.weights, OwnWeights):
        return Choice(spec, flat_taxonomy(spec.name, own.labels(spec)))
    return Choice(spec, load_taxonomy(spec.labels))


def require(name: str) -> None:
    """Raise :class:`ModelError` unless there is a model of that name."""
    models.get(name)


def require_same(model: Model) -> None:
    """Raise :class:`ModelError` unless this program would make just this version of the model."""
    spec = models.get(model.spec)
    ours = choose_spec(spec).entry
    if ours.fingerprint != model.fingerprint:
        raise ModelError(f"{model.name} was made by another version of this program, which has {ours.name}")


def adopt_own(folder: Path) -> None:
    """Make the models of one's own in a folder known by their names; raises :class:`ModelError`."""
    models.adopt(own.read_all(folder))


def find(database: Database, choice: Choice) -> Model | None:
    """The model's version in this database, if there is one."""
    with database.reading() as connection:
        return catalog.find_fingerprint(connection, choice.entry.fingerprint)


def require_weights(database: Database, choice: Choice) -> None:
    """Have the weights of a version that is new to this database here, before anything is written of it: else
    it would be live, and wait for ever. One that is not new may have them in the engine's own form.

    Raises :class:`WeightsError` when there is no way to them.
    """
    if find(database, choice) is None:
        weights.fetch(choice.spec.weights)
        weights.locate(choice.spec.weights)


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
        if model.live:
            raise ModelError(f"{model.name} is live already")
        catalog.promote(connection, model)
        counts.refresh(connection)
        return catalog.find_model(connection, model.name)


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The version that holds again, and how many present images it has no outcome for: what came since it
    was replaced."""

    model: Model
    lacking: int


def roll_back(database: Database, vocabulary: str) -> RolledBack:
    """Have the version hold again that the live one took over from.

    Raises :class:`ModelError` when there is none.
    """
    with database.writing() as connection:
        model = catalog.roll_back(connection, vocabulary)
        counts.refresh(connection)
        return RolledBack(model, catalog.lacking(connection, model))


def prune(database: Database, name: str) -> Model:
    """Remove a version that is not live, with all that it said.

    Raises :class:`ModelError` when it is unknown, or live.
    """
    with database.writing() as connection:
        model = prunable(connection, name)
        catalog.prune(connection, model)
    return model


def require_own(name: str) -> ModelSpec:
    """The model of one's own of that name; raises :class:`ModelError`."""
    spec = models.get(name)
    if not isinstance(spec.weights, OwnWeights):
        raise ModelError(f"{name} is none of your own: it cannot be removed, its versions can be pruned")
    return spec


def remove_own(folder: Path, name: str, database: Database | None) -> None:
    """Remove a model of one's own, and its versions from a database.

    Raises :class:`ModelError` when another version of its vocabulary would have to hold, or a run still
    wants something from it.
    """
    spec = require_own(name)
    if database is not None:
        with database.writing() as connection:
            known = catalog.models(connection)
            for model in [each for each in known if each.spec == name]:
                others = [each for each in known if each.vocabulary == model.vocabulary and each.spec != name]
                if model.live and others:
                    raise ModelError(
                        f"{model.name} is live, and {others[0].name} is of its vocabulary: promote that first"
                    )
                _require_idle(connection, model)
                catalog.retire(connection, model)
                catalog.prune(connection, model)
            counts.refresh(connection)
    own.remove(spec)
    adopt_own(folder)


def prunable(connection: Connection, name: str) -> Model:
    """A version that may be removed; raises as :func:`prune`."""
    model = catalog.find_model(connection, name)
    if model.live:
        raise ModelError(f"{model.name} is live: promote another version first, or roll back")
    _require_idle(connection, model)
    return model


def _require_idle(connection: Connection, model: Model) -> None:
    if unfinished := runs.unfinished_of(connection, model.id):
        raise ModelError(
            f"run {unfinished[0]} still wants images from {model.name}: "
            f"`tagger run cancel {unfinished[0]}` first"
        )


def diff(database: Database, before: str, after: str, examples: int) -> ModelDiff:
    """What changes from one version to another of the same vocabulary.

    Raises :class:`ModelError` when one is unknown, or they are of two vocabularies.
    """
    with database.reading() as connection:
        one, other = (catalog.find_model(connection, name) for name in (before, after))
        if one == other:
            raise ModelError(f"{before} and {after} are the same version, {one.name}")
        if one.vocabulary != other.vocabulary:
            raise ModelError(f"{one.name} and {other.name} are not of one vocabulary")
        return queries.diff(connection, one, other, examples)


@dataclass(frozen=True, slots=True)
class Version:
    """A model version in a database: so many present images it has seen, so many are still wanted.
    ``previous`` is the version that would hold again if a live one were rolled back."""

    name: str
    spec: str
    vocabulary: str
    fingerprint: str
    live: bool
    seen: int
    pending: int
    previous: str | None


def with_counts(database: Database) -> list[Version]:
    """All versions in this database, oldest first, and how far each is."""
    with database.reading() as connection:
        return [
            Version(
                model.name,
                model.spec,
                model.vocabulary,
                model.fingerprint,
                model.live,
                wants.finished(connection, model.id),
                wants.unfinished(connection, model.id),
                catalog.predecessor(connection, model) if model.live else None,
            )
            for model in catalog.models(connection)
        ]


def registered(database: Database) -> list[Model]:
    """All versions in this database, oldest first."""
    with database.reading() as connection:
        return catalog.models(connection)


def _live(database: Database) -> str | None:
    vocabulary = models.get(models.DEFAULT).vocabulary
    with database.reading() as connection:
        live = catalog.live_model(connection, vocabulary)
    return live.spec if live is not None and live.spec in models.names() else None
