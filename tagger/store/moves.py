"""Which old image each new one is: what has moved, and from where.

A new image with the content of one that is no longer at its place *is* that one. Often several have
that content, of which some were moved and others only removed; then each new image gets the partner that
is most likely itself, and that a person would miss most. No pair is held against every other: where
100,000 copies move, that would never end.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_LOOKS = 100
"""So many places of one content are found to be still in use before no more are looked at: of most
contents with more copies than that, all are where they were."""

_Lane = tuple[str, ...]
_Way = Callable[[str], _Lane]


@dataclass(frozen=True, slots=True)
class Old:
    """An image that there was before; ``spoken_of`` if a person has said anything of it."""

    image_id: int
    uri: str
    vanished: bool
    spoken_of: bool


@dataclass(frozen=True, slots=True)
class _New:
    image_id: int
    uri: str


def partners(
    new: Mapping[int, str], old: Iterable[Old], moved_away: Callable[[str, str], bool]
) -> dict[int, int]:
    """Who the new images (URIs by id) are, of old ones with the same content: new id to old id.

    Each old image is used once, if it has vanished or ``moved_away(old URI, new URI)`` says that it is no
    longer at its old place; that is asked once at most. Of all pairs the first is taken, again and again,
    by this order: those of the same file name come first; then those of which a person has said something;
    then those known to have vanished; then those whose paths have the most parts in common, counted from
    the file and then from the root; then those of the lowest ids.
    """
    pairing = _Pairing(moved_away)
    left_new: list[_New] = []
    by_name: dict[str, tuple[list[_New], list[Old]]] = {}
    for image_id, uri in sorted(new.items()):
        by_name.setdefault(_name(uri), ([], []))[0].append(_New(image_id, uri))
    left_old: list[Old] = []
    for one in old:
        (by_name[name][1] if (name := _name(one.uri)) in by_name else left_old).append(one)
    for namesakes, others in by_name.values():
        pairing.meet_in_order(namesakes, others, (_from_the_file, _from_the_root))
        left_new += namesakes
        left_old += others
    pairing.meet_in_order(left_new, left_old, (_from_the_root,))
    return pairing.found


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _from_the_file(uri: str) -> _Lane:
    return tuple(reversed(uri.split("/")))


def _from_the_root(uri: str) -> _Lane:
    return tuple(uri.split("/")[:-1])


_Meeting = tuple[list[_New], list[Old]]


@dataclass(slots=True)
class _Pairing:
    """The pairs of one content so far. Whoever is paired is taken out of the lists that were given."""

    moved_away: Callable[[str, str], bool]
    found: dict[int, int] = field(default_factory=dict)
    looks: int = _LOOKS

    def meet_in_order(self, new: list[_New], old: list[Old], ways: Sequence[_Way]) -> None:
        """Pair by what is known of the old ones, and then by how near they are."""
        ranks: dict[tuple[bool, bool], list[Old]] = defaultdict(list)
        for one in old:
            ranks[not one.spoken_of, not one.vanished].append(one)
        for rank in sorted(ranks):
            self._meet(new, ranks[rank], ways)
        old[:] = [one for rank in sorted(ranks) for one in ranks[rank]]

    def _meet(self, new: list[_New], old: list[Old], ways: Sequence[_Way]) -> None:
        """Pair those first that have the most of the first way in common; of these, of the next."""
        if not new or not old:
            return
        if not ways:
            self._pair_off(new, old)
            return
        way, *others = ways
        depths = _meetings(new, old, way)
        for depth in range(max(depths), -1, -1):
            for place, (some, theirs) in depths[depth].items():
                self._meet(some, theirs, others)
                if depth:
                    nearer_new, nearer_old = depths[depth - 1][place[:-1]]
                    nearer_new += some
                    nearer_old += theirs
        new[:], old[:] = depths[0][()]

    def _pair_off(self, new: list[_New], old: list[Old]) -> None:
        waiting = deque(sorted(new, key=lambda one: one.image_id))
        left = []
        for one in sorted(old, key=lambda one: one.image_id):
            if not waiting:
                left.append(one)
            elif self._is_gone(one, waiting[0]):
                self.found[waiting.popleft().image_id] = one.image_id
        new[:], old[:] = waiting, left

    def _is_gone(self, old: Old, new: _New) -> bool:
        if old.vanished:
            return True
        if self.looks == 0:
            return False
        gone = self.moved_away(old.uri, new.uri)
        self.looks -= not gone
        return gone


def _meetings(
    new: Iterable[_New], old: Iterable[Old], way: _Way
) -> defaultdict[int, defaultdict[_Lane, _Meeting]]:
    """By depth, the places on the new ones' ways: each new one at its end, each old one as far as it goes."""
    depths: defaultdict[int, defaultdict[_Lane, _Meeting]]
    depths = defaultdict(lambda: defaultdict(lambda: ([], [])))
    places: set[_Lane] = set()
    for fresh in new:
        lane = way(fresh.uri)
        places.update(lane[:depth] for depth in range(len(lane) + 1))
        depths[len(lane)][lane][0].append(fresh)
    for one in old:
        lane, depth = way(one.uri), 0
        while depth < len(lane) and lane[: depth + 1] in places:
            depth += 1
        depths[depth][lane[:depth]][1].append(one)
    return depths
