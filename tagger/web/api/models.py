"""Models: what can tag, which version holds, and how two of them differ."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from tagger.library import versions
from tagger.store.catalog import Model
from tagger.store.queries import ModelDiff
from tagger.web.api.parameters import Answer, Name, NameInPath
from tagger.web.site import SiteHere

router = APIRouter(tags=["models"])


class Version(Answer):
    """A model version of this database."""

    name: str
    spec: str
    """The model that it is a version of."""
    vocabulary: str
    fingerprint: str
    live: bool
    """Whether its tags hold."""


class CountedVersion(Version):
    """And how far it is."""

    seen: int
    """Present images that it has an outcome for."""
    pending: int
    """Present images that are still wanted from it."""
    previous: str | None
    """The version that a rollback leads to; of a live one, if there is any."""


class Versions(Answer):
    """All versions of this database, the oldest first."""

    versions: list[CountedVersion]


class CatalogueModel(Answer):
    """A model that can be asked for."""

    name: str
    vocabulary: str
    family: str
    year: int
    parameters: int
    input: int
    """Of its picture's side, in pixels."""
    top1: float | None
    """Accuracy on ImageNet as published, 0-1."""
    top1_source: str | None
    licence: str
    weights: str | None
    """Their package, torchvision's name of them, or the file; null for a network that waits for your own."""
    packaged: bool
    megabytes: float | None
    here: bool
    """Whether the weights are on the server."""


class Catalogue(Answer):
    """All models that can be asked for."""

    models: list[CatalogueModel]


class TagChange(Answer):
    """How one tag fares under the other version."""

    tag: str
    gained: int
    lost: int
    shifted: int
    """Images on which it is more or less sure."""
    shift: float
    """The mean change of those, in confidence."""


class Example(Answer):
    """One image on which a tag changes."""

    uri: str
    tag: str
    change: Literal["gained", "lost", "shifted"]
    before: float | None
    """Null below the floor."""
    after: float | None


class Diff(Answer):
    """What changes from one version to another."""

    images: int
    """So many both have finished."""
    tags: list[TagChange]
    """The most changed first."""
    examples: list[Example]


class RolledBack(Answer):
    """The version that holds again."""

    model: Version
    lacking: int
    """Present images that it has no outcome for: what came since it was replaced."""


VersionName = Annotated[Name, Query(description="A version, or the model where it has one.")]


@router.get("/models", summary="The versions of this database")
def list_models(site: SiteHere) -> Versions:
    """And how far each is."""
    counted = versions.with_counts(site.database)
    return Versions(versions=[CountedVersion.model_validate(version) for version in counted])


@router.get("/models/catalogue", summary="All models that can be asked for")
def list_catalogue() -> Catalogue:
    """Whether or not they have tagged anything yet."""
    return Catalogue(models=[CatalogueModel.model_validate(row) for row in versions.catalogue()])


@router.get("/models/diff", summary="What changes from one version to another", response_model=Diff)
def compare_models(
    site: SiteHere,
    before: VersionName,
    after: VersionName,
    examples: Annotated[int, Query(ge=0, le=100, description="Of each kind of change.")] = 5,
) -> ModelDiff:
    """Both of the same vocabulary."""
    return versions.diff(site.database, before, after, examples)


@router.post("/models/{name}/promote", summary="Have a version's tags hold", response_model=Version)
def promote_model(site: SiteHere, name: NameInPath) -> Model:
    """Instead of the live one's of its vocabulary, in one transaction; refused while any present image lacks
    an outcome of it."""
    return versions.promote(site.database, name)


@router.post(
    "/vocabularies/{vocabulary}/rollback", summary="Take the last promotion back", response_model=RolledBack
)
def roll_back_vocabulary(site: SiteHere, vocabulary: NameInPath) -> versions.RolledBack:
    """The version holds again that the live one took over from."""
    return versions.roll_back(site.database, vocabulary)
