"""How images are handed in to be loaded, whoever loads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from tagger.loading import Client, Found
from tagger.values import EncodedImage, ImageRef, LoadedImage, LoadFailure


class AbandonedError(Exception):
    """The run was given up while this image was being loaded."""


class Submitting(ABC):
    """Loads what is submitted, in threads of its own."""

    room: int
    """How many images should be submitted at one time so that nothing here waits for one."""

    @abstractmethod
    def submit(self, refs: Sequence[ImageRef], client: Client, since: float | None = None) -> None:
        """Have images read, and loaded if their content is wanted; the client is told what came of each.

        ``since``, by :func:`time.monotonic`, is when they began to wait; now if None.

        Raises:
            AbandonedError: :meth:`abandon` was called.
        """

    @abstractmethod
    def abandon(self) -> None:
        """End what is being loaded; of each image that is not done its client is told so."""

    def load(
        self, ref: ImageRef, wanted: Callable[[bytes], bool], since: float | None = None
    ) -> LoadedImage | LoadFailure | None:
        """Load one image and wait for it; None if its content, by its SHA-256, is not wanted.

        Raises what :meth:`Client.failed` is told.
        """
        client = _Waiting(wanted)
        self.submit([ref], client, since)
        result = client.result.result()
        assert not isinstance(result, EncodedImage)  # nobody asked for that
        return result


class _Waiting:
    """A client for one image."""

    def __init__(self, wanted: Callable[[bytes], bool]) -> None:
        self.result: Future[Found] = Future()
        self._wanted = wanted

    def wanted(self, found: Sequence[tuple[ImageRef, bytes]]) -> Sequence[bool]:
        return [self._wanted(digest) for _, digest in found]

    def done(self, ref: ImageRef, result: Found) -> None:
        self.result.set_result(result)

    def failed(self, ref: ImageRef, fault: BaseException) -> None:
        self.result.set_exception(fault)
